// Adds two signed P-bit numbers without loss: a node of an adder tree. Combinational.
module adder #(
    parameter int P = 16
) (
    input  logic [P-1:0] a,
    input  logic [P-1:0] b,
    output logic [  P:0] sum
);
  assign sum = {a[P-1], a} + {b[P-1], b};
endmodule
