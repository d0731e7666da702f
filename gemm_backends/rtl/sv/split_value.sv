// Splits an integer into digits of B bits with radix 2**B, from -2**(B-1) to 2**(B-1) - 1.
// Combinational.
module split_value #(
    parameter int B = 4,
    parameter int I = 32,  // width of the integer
    localparam int Digits = (I + B) / B
) (
    input  logic [             I-1:0] value,
    output logic [             B-1:0] low,
    output logic [  (Digits-1)*B-1:0] high,  // further digits, the next one first
    output logic [$clog2(Digits)-1:0] levels  // how many of them there are; 0 unless it is heavy
);
  // With half a radix added to every digit all of them are the fields of one binary number.
  localparam int W = Digits * B;
  localparam logic [B-1:0] Half = B'(1) << (B - 1);
  logic [W-1:0] fields, digits;
  assign fields = {{(W - I) {value[I-1]}}, value} + {Digits{Half}};
  assign digits = fields ^ {Digits{Half}};
  assign {high, low} = digits;

  always_comb begin
    levels = '0;
    for (int d = 1; d < Digits; d++) if (|digits[d*B+:B]) levels = ($clog2(Digits))'(d);
  end
endmodule
