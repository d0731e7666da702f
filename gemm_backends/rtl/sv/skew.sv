// A delay of DELAY clocks; `reset` fills it with zeros.
module skew #(
    parameter int W = 1,
    parameter int DELAY = 1
) (
    input  logic         clk,
    input  logic         reset,
    input  logic [W-1:0] in,
    output logic [W-1:0] out
);
  if (DELAY == 0) begin : g_wire
    assign out = in;
  end else begin : g_registers
    logic [DELAY*W-1:0] held;
    always_ff @(posedge clk) begin
      if (reset) held <= '0;
      else held <= (DELAY * W)'({held, in});
    end
    assign out = held[(DELAY-1)*W+:W];
  end
endmodule
