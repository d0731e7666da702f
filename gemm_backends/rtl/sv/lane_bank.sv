// A bank of LANES lanes that multiply one high digit by a line of the other operand.
//
// While `offered`, the digits of the group that it asks for must be there in the same clock. A place
// of the line gets the product of its own lane, and zero while it is another group's turn.
module lane_bank #(
    parameter int S = 4,  // places of a line
    parameter int LANES = 4,  // up to S
    parameter int B = 4,
    parameter int W = 24,
    parameter int UNIT = 4,
    localparam int Groups = (S + LANES - 1) / LANES
) (
    input  logic                                         clk,
    input  logic                                         reset,
    input  logic                                         offered,
    input  logic [(Groups > 1 ? $clog2(Groups) : 1)-1:0] first_group,
    input  logic [(Groups > 1 ? $clog2(Groups) : 1)-1:0] last_group,
    input  logic [          (S > 1 ? $clog2(S) : 1)-1:0] line,
    input  logic [                                B-1:0] value,
    input  logic [        $clog2((W - 1) / UNIT + 1)-1:0] level,
    input  logic [                          LANES*B-1:0] digits,
    output logic [(Groups > 1 ? $clog2(Groups) : 1)-1:0] group,
    output logic                                         taken,
    output logic [                                S-1:0] selected,
    output logic [                       S*(W-UNIT)-1:0] corrections
);
  logic [Groups-1:0] enabled;
  lane_control #(
      .S(S),
      .GROUPS(Groups)
  ) u_control (
      .clk,
      .reset,
      .offered,
      .first_group,
      .last_group,
      .line,
      .group,
      .taken,
      .enabled,
      .selected
  );

  logic [W-1:UNIT] correction[LANES];
  for (genvar i = 0; i < LANES; i++) begin : g_lane
    lane #(
        .B(B),
        .W(W),
        .UNIT(UNIT)
    ) u_lane (
        .value,
        .digit(digits[i*B+:B]),
        .level,
        .correction(correction[i])
    );
  end
  for (genvar p = 0; p < S; p++) begin : g_place
    gate #(
        .W(W - UNIT)
    ) u_gate (
        .in(correction[p%LANES]),
        .enabled(enabled[p/LANES]),
        .out(corrections[p*(W-UNIT)+:W-UNIT])
    );
  end
endmodule
