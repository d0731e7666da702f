// Lets W bits pass while it is enabled, and zeros otherwise. Combinational.
module gate #(
    parameter int W = 20
) (
    input  logic [W-1:0] in,
    input  logic         enabled,
    output logic [W-1:0] out
);
  assign out = in & {W{enabled}};
endmodule
