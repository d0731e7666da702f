// One step of a W-bit register that wraps: a product, and a correction from one of two lines, are
// added to what it held. Combinational.
module corrected_step #(
    parameter int P = 8,  // width of the signed product
    parameter int W = 24,
    parameter int UNIT = 4  // corrections are multiples of 2**UNIT
) (
    input  logic [   W-1:0] state,
    input  logic            clear,  // the register counts as zero
    input  logic            valid,  // there is a product
    input  logic [   P-1:0] product,
    input  logic            row,  // a lane corrects this row
    input  logic [W-1:UNIT] down,
    input  logic            column,  // a lane corrects this column
    input  logic [W-1:UNIT] across,
    output logic [   W-1:0] next
);
  logic [W+P-1:0] wide;
  assign wide = {{W{product[P-1]}}, product};

  logic [W-1:UNIT] correction;
  assign correction = (down & {(W - UNIT) {row}}) | (across & {(W - UNIT) {column}});

  assign next = (state & {W{~clear}}) + (wide[W-1:0] & {W{valid}}) + {correction, {UNIT{1'b0}}};
endmodule
