// A W-bit register that adds an addend at every clock at which `valid` is set.
//
// At the `first` addend of a sum the register counts as zero, so that sums can follow each other
// without a pause.
module accumulator #(
    parameter int P = 16,
    parameter int W = 32,
    parameter bit SATURATE = 0
) (
    input  logic         clk,
    input  logic         valid,
    input  logic         first,
    input  logic [P-1:0] addend,
    output logic [W-1:0] sum,
    output logic         overflow  // of the step that the next clock edge takes
);
  logic [W-1:0] next;
  logic left_range;

  accumulate_step #(
      .P(P),
      .W(W),
      .SATURATE(SATURATE)
  ) u_step (
      .state(first ? '0 : sum),
      .addend,
      .next,
      .overflow(left_range)
  );

  assign overflow = valid & left_range;

  always_ff @(posedge clk) if (valid) sum <= next;
endmodule
