// Multiply-accumulate: a register that adds a * b at every clock at which `valid` is set.
//
// At the `first` product of a sum the register counts as zero, so that sums can follow each other
// without a pause.
module mac #(
    parameter int A = 8,
    parameter int B = 8,
    parameter int W = 32,
    parameter bit SATURATE = 0
) (
    input  logic         clk,
    input  logic         valid,
    input  logic         first,
    input  logic [A-1:0] a,
    input  logic [B-1:0] b,
    output logic [W-1:0] sum,
    output logic         overflow  // of the step that the next clock edge takes
);
  logic [A+B-1:0] product;
  logic [W-1:0] next;
  logic left_range;

  multiplier #(
      .A(A),
      .B(B)
  ) u_multiplier (
      .a,
      .b,
      .product
  );

  accumulate_step #(
      .P(A + B),
      .W(W),
      .SATURATE(SATURATE)
  ) u_step (
      .state(first ? '0 : sum),
      .addend(product),
      .next,
      .overflow(left_range)
  );

  assign overflow = valid & left_range;

  always_ff @(posedge clk) if (valid) sum <= next;
endmodule
