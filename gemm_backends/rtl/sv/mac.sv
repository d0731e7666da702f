// Multiply-accumulate: a register that adds a * b at every clock at which `valid` is set.
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
    output logic         overflow
);
  logic [A+B-1:0] product;

  multiplier #(
      .A(A),
      .B(B)
  ) u_multiplier (
      .a,
      .b,
      .product
  );

  accumulator #(
      .P(A + B),
      .W(W),
      .SATURATE(SATURATE)
  ) u_accumulator (
      .clk,
      .valid,
      .first,
      .addend(product),
      .sum,
      .overflow
  );
endmodule
