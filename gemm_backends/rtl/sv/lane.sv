// A lane: multiplies a high digit by a digit of the other operand, and shifts by a power of two that
// is a multiple of UNIT. Combinational.
module lane #(
    parameter int B = 4,  // width of a digit
    parameter int W = 24,  // width of an accumulator
    parameter int UNIT = 4  // bits of a digit level
) (
    input  logic [B-1:0] value,
    input  logic [B-1:0] digit,
    input  logic [$clog2((W - 1) / UNIT + 1)-1:0] level,  // from 1; nothing comes of 0
    output logic [W-1:UNIT] correction  // product * 2**(level * UNIT), modulo 2**W
);
  localparam int Levels = (W - 1) / UNIT;

  logic [2*B-1:0] product;
  multiplier #(
      .A(B),
      .B(B)
  ) u_multiplier (
      .a(value),
      .b(digit),
      .product
  );

  logic [W+2*B-1:0] wide;
  assign wide = {{W{product[2*B-1]}}, product};

  logic [W-1:UNIT] shifted[Levels];
  for (genvar l = 1; l <= Levels; l++) begin : g_level
    logic [W-1:0] whole;
    assign whole = W'(wide << (l * UNIT));
    assign shifted[l-1] = whole[W-1:UNIT];
  end

  always_comb begin
    correction = '0;
    for (int l = 1; l <= Levels; l++) begin
      if (32'(level) == l) correction = correction | shifted[l-1];
    end
  end
endmodule
