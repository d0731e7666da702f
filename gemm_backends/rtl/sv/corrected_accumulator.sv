// A W-bit register of a place whose sum lanes correct while products are added.
module corrected_accumulator #(
    parameter int P = 8,
    parameter int W = 24,
    parameter int UNIT = 4
) (
    input  logic            clk,
    input  logic            clear,
    input  logic            valid,
    input  logic [   P-1:0] product,
    input  logic            row,
    input  logic [W-1:UNIT] down,
    input  logic            column,
    input  logic [W-1:UNIT] across,
    output logic [   W-1:0] sum
);
  logic [W-1:0] next;
  corrected_step #(
      .P(P),
      .W(W),
      .UNIT(UNIT)
  ) u_step (
      .state(sum),
      .clear,
      .valid,
      .product,
      .row,
      .down,
      .column,
      .across,
      .next
  );
  always_ff @(posedge clk) sum <= next;
endmodule
