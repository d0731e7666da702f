// Adds a low-bit product, times a power of two, to a wide sum: what puts an unpacked product back.
module shift_add #(
    parameter int W = 32,  // width of the product's entry
    parameter int S = 64   // width of the sum
) (
    input  logic                 clk,
    input  logic                 valid,
    input  logic                 first,
    input  logic [        W-1:0] entry,
    input  logic [$clog2(S)-1:0] exponent,
    output logic [        S-1:0] sum
);
  logic [S-1:0] wide;
  assign wide = {{(S - W) {entry[W-1]}}, entry} << exponent;
  always_ff @(posedge clk) if (valid) sum <= (first ? '0 : sum) + wide;
endmodule
