// Output-stationary systolic array of R x C multiply-accumulators.
//
// At every clock with `valid` set it takes one column of A (R digits) and one column of B (C
// digits), those of one k, and `first` with the first of them. Row i is delayed by i clocks and
// column j by j, digits move right and down by one place per clock, and the last product of K is
// added K + R + C - 2 clocks after the first was taken, the clock that takes it included. All sums
// can be read at once when `idle` is set.
module systolic_array #(
    parameter int R = 4,  // rows of A
    parameter int C = 4,  // rows of B
    parameter int A = 8,  // width of a digit of A
    parameter int B = 8,  // width of a digit of B
    parameter int W = 32,  // width of an accumulator
    parameter bit SATURATE = 0
) (
    input  logic             clk,
    input  logic             reset,  // synchronous: nothing is in flight afterwards
    input  logic             valid,
    input  logic             first,
    input  logic [R*A-1:0]   a,  // row i in a[i*A +: A]
    input  logic [C*B-1:0]   b,  // column j in b[j*B +: B]
    output logic             idle,  // nothing is in flight
    output logic [R*C*W-1:0] sums,  // row i, column j in sums[(i*C + j)*W +: W]
    output logic [R*C-1:0]   stepped,  // adds a product at the next clock edge
    output logic [R*C-1:0]   overflow  // and that sum does not fit
);
  // Operands of the place (i, j); `live` and `start` go with those of A.
  logic [A-1:0] digit_a[R][C];
  logic [B-1:0] digit_b[R][C];
  logic live[R][C];
  logic start[R][C];

  for (genvar i = 0; i < R; i++) begin : g_skew_a
    skew #(
        .W(A + 2),
        .DELAY(i)
    ) u_skew (
        .clk,
        .reset,
        .in ({valid, first, a[i*A+:A]}),
        .out({live[i][0], start[i][0], digit_a[i][0]})
    );
  end
  for (genvar j = 0; j < C; j++) begin : g_skew_b
    skew #(
        .W(B),
        .DELAY(j)
    ) u_skew (
        .clk,
        .reset,
        .in (b[j*B+:B]),
        .out(digit_b[0][j])
    );
  end

  for (genvar i = 0; i < R; i++) begin : g_row
    for (genvar j = 0; j < C; j++) begin : g_column
      if (j > 0) begin : g_right
        skew #(
            .W(A + 2),
            .DELAY(1)
        ) u_a (
            .clk,
            .reset,
            .in ({live[i][j-1], start[i][j-1], digit_a[i][j-1]}),
            .out({live[i][j], start[i][j], digit_a[i][j]})
        );
      end
      if (i > 0) begin : g_down
        skew #(
            .W(B),
            .DELAY(1)
        ) u_b (
            .clk,
            .reset,
            .in (digit_b[i-1][j]),
            .out(digit_b[i][j])
        );
      end
      mac #(
          .A(A),
          .B(B),
          .W(W),
          .SATURATE(SATURATE)
      ) u_mac (
          .clk,
          .valid(live[i][j]),
          .first(start[i][j]),
          .a(digit_a[i][j]),
          .b(digit_b[i][j]),
          .sum(sums[(i*C+j)*W+:W]),
          .overflow(overflow[i*C+j])
      );
      assign stepped[i*C+j] = live[i][j];
    end
  end

  // What was valid within the last R + C - 2 clocks is still on its way.
  logic [R+C-2:0] in_flight;
  assign in_flight[0] = valid;
  for (genvar t = 1; t < R + C - 1; t++) begin : g_in_flight
    skew #(
        .W(1),
        .DELAY(1)
    ) u_skew (
        .clk,
        .reset,
        .in (in_flight[t-1]),
        .out(in_flight[t])
    );
  end
  assign idle = ~|in_flight;
endmodule
