// Finds and splits heavy hitters on the way in: a float32 becomes an integer, and the integer its
// digits. Combinational: one value a clock.
module unpacker #(
    parameter int B = 4,
    parameter int I = 32,  // width of the integers that it takes; more is `beyond`
    localparam int Digits = (I + B) / B
) (
    input  logic [              31:0] x,
    input  logic [              31:0] scale,
    output logic [             B-1:0] low,
    output logic [  (Digits-1)*B-1:0] high,
    output logic [$clog2(Digits)-1:0] levels,
    output logic                      beyond
);
  logic [I-1:0] value;
  round_scaled #(
      .I(I)
  ) u_round (
      .x,
      .scale,
      .rounded(value),
      .beyond
  );
  split_value #(
      .B(B),
      .I(I)
  ) u_split (
      .value,
      .low,
      .high,
      .levels
  );
endmodule
