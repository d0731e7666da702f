// Signed A-bit by B-bit multiplier: the partial-product array of Baugh and Wooley.
//
// C. R. Baugh, B. A. Wooley, A Two's Complement Parallel Array Multiplication Algorithm,
// IEEE Trans. Computers C-22 (1973). Every partial product that has a negative weight is inverted;
// a constant makes up for the inversions. Combinational.
//
// Keep it a module of its own: synthesis that merges it with the adder behind it makes small
// multiply-accumulators several times larger.
module multiplier #(
    parameter int A = 8,
    parameter int B = 8
) (
    input  logic [A-1:0]   a,
    input  logic [B-1:0]   b,
    output logic [A+B-1:0] product
);
  localparam int W = A + B;
  localparam logic [W-1:0] One = 1;
  localparam logic [W-1:0] Correction = (One << (A - 1)) + (One << (B - 1)) + (One << (W - 1));

  // Inverted are the last bit of every row but the last, and all others of the last row.
  localparam logic [A-1:0] Last = A'(1) << (A - 1);

  logic [W-1:0] row[B];
  for (genvar j = 0; j < B; j++) begin : g_row
    localparam logic [A-1:0] Inverted = j == B - 1 ? ~Last : Last;
    assign row[j] = W'((a & {A{b[j]}}) ^ Inverted) << j;
  end

  always_comb begin
    product = Correction;
    for (int j = 0; j < B; j++) product = product + row[j];
  end
endmodule
