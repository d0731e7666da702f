// One step of a W-bit register: state + addend, which wraps or saturates. Combinational.
module accumulate_step #(
    parameter int P = 16,  // width of the signed addend
    parameter int W = 32,  // width of the signed register
    parameter bit SATURATE = 0
) (
    input  logic [W-1:0] state,
    input  logic [P-1:0] addend,
    output logic [W-1:0] next,
    output logic         overflow  // the sum does not fit W bits
);
  localparam int S = (P > W ? P : W) + 1;  // wide enough for any sum

  logic [S-1:0] total;
  assign total    = {{(S - W) {state[W-1]}}, state} + {{(S - P) {addend[P-1]}}, addend};
  assign overflow = total[S-1:W-1] != {(S - W + 1) {total[S-1]}};
  assign next     = SATURATE && overflow ? {total[S-1], {(W - 1) {~total[S-1]}}} : total[W-1:0];
endmodule
