// Multiplies a float32 by a scale and rounds to an integer, in two steps as software does it: the
// product to float32, and that to an integer, each to the nearest with ties to even. Combinational.
module round_scaled #(
    parameter int I = 32  // width of the integer
) (
    input  logic [ 31:0] x,
    input  logic [ 31:0] scale,  // positive, and not subnormal
    output logic [I-1:0] rounded,
    output logic         beyond  // x is subnormal, infinite or NaN, or the integer does not fit
);
  logic [47:0] product;
  assign product = {24'b0, 1'b1, x[22:0]} * {24'b0, 1'b1, scale[22:0]};

  // The product is top * 2**exponent with 24 bits, then rounded.
  logic twofold, up;
  logic [23:0] top, rest;
  logic [24:0] significand;
  logic signed [10:0] exponent;
  assign twofold = product[47];
  assign {top, rest} = twofold ? product : {product[46:0], 1'b0};
  assign up = rest[23] & (|rest[22:0] | top[0]);
  assign significand = {1'b0, top} + {24'b0, up};
  assign exponent = $signed({3'b0, x[30:23]}) + $signed({3'b0, scale[30:23]})
                  - (twofold ? 11'sd276 : 11'sd277);

  // Shifted left it must fit; shifted right it is rounded, and far right nothing is left.
  localparam int Most = I - 25;
  logic [I:0] left;
  logic [50:0] right;
  logic [ 4:0] by;
  logic none;
  logic [25:0] whole;
  assign left = {{Most + 1{1'b0}}, significand} << (exponent > 11'(Most) ? 11'(Most) : exponent);
  assign none = exponent < -11'sd26;
  assign by = none ? 5'd26 : 5'(-exponent);
  assign right = {significand, 26'b0} >> by;
  assign whole = {1'b0, right[50:26]} + {25'b0, right[25] & (|right[24:0] | right[26])};

  logic [I:0] magnitude;
  assign magnitude = exponent > 0 ? left : {{I - 25{1'b0}}, whole};

  logic zero;
  assign zero = x[30:23] == 0;
  assign rounded = zero ? '0 : x[31] ? -magnitude[I-1:0] : magnitude[I-1:0];
  assign beyond = (zero & |x[22:0]) | (&x[30:23])
                | (~zero & (exponent > 11'(Most) | |magnitude[I:I-1]));
endmodule
