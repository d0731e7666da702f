// Takes a bank of lanes through a line of S places: `first_group` to `last_group` of its GROUPS
// groups, one a clock, for every high digit that is offered.
module lane_control #(
    parameter int S = 4,
    parameter int GROUPS = 1
) (
    input  logic                                         clk,
    input  logic                                         reset,
    input  logic                                         offered,
    input  logic [(GROUPS > 1 ? $clog2(GROUPS) : 1)-1:0] first_group,
    input  logic [(GROUPS > 1 ? $clog2(GROUPS) : 1)-1:0] last_group,
    input  logic [          (S > 1 ? $clog2(S) : 1)-1:0] line,
    output logic [(GROUPS > 1 ? $clog2(GROUPS) : 1)-1:0] group,
    output logic                                         taken,  // the next high digit, please
    output logic [                           GROUPS-1:0] enabled,  // one of the groups
    output logic [                                S-1:0] selected  // the line, while there is one
);
  logic started;
  logic [(GROUPS > 1 ? $clog2(GROUPS) : 1)-1:0] next;

  assign group = started ? next : first_group;
  assign taken = offered & (group == last_group);

  for (genvar g = 0; g < GROUPS; g++) begin : g_enabled
    assign enabled[g] = 32'(group) == g;
  end
  for (genvar i = 0; i < S; i++) begin : g_selected
    assign selected[i] = offered & (32'(line) == i);
  end

  always_ff @(posedge clk) begin
    started <= ~reset & offered & ~taken;
    next <= group + 1'b1;
  end
endmodule
