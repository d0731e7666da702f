// Output-stationary array of S x S places, with BANKS banks of LANES lanes beside it.
//
// Digits go through it as through `systolic_array`. With `first` all sums start at zero, so that
// lanes may add from that clock on, before a place has its first product. High digits of A (of_b
// low) correct a row: bank g those of the rows g, g + BANKS, and so on; its lanes multiply by a column
// of B. High digits of B correct a column in the same way, by a column of A. All banks are on one
// side at a time, so that a place gets one correction a clock.
module corrected_array #(
    parameter int S = 4,
    parameter int BANKS = 1,  // a power of two, up to S
    parameter int LANES = 4,  // of a bank; up to S
    parameter int B = 4,
    parameter int W = 24,
    parameter int UNIT = 4,
    localparam int Groups = (S + LANES - 1) / LANES,
    localparam int GroupBits = Groups > 1 ? $clog2(Groups) : 1,
    localparam int LineBits = S > 1 ? $clog2(S) : 1,
    localparam int LevelBits = $clog2((W - 1) / UNIT + 1)
) (
    input  logic                       clk,
    input  logic                       reset,
    input  logic                       valid,
    input  logic                       first,
    input  logic [            S*B-1:0] a,
    input  logic [            S*B-1:0] b,
    input  logic                       of_b,
    input  logic [          BANKS-1:0] offered,
    input  logic [BANKS*GroupBits-1:0] first_group,
    input  logic [BANKS*GroupBits-1:0] last_group,
    input  logic [ BANKS*LineBits-1:0] line,
    input  logic [        BANKS*B-1:0] value,
    input  logic [BANKS*LevelBits-1:0] level,
    input  logic [  BANKS*LANES*B-1:0] digits,
    output logic [BANKS*GroupBits-1:0] group,
    output logic [          BANKS-1:0] taken,
    output logic                       idle,  // nothing is in flight, and no high digit is offered
    output logic [          S*S*W-1:0] sums
);
  logic [B-1:0] digit_a[S][S];
  logic [B-1:0] digit_b[S][S];
  logic live[S][S];

  for (genvar i = 0; i < S; i++) begin : g_skew
    skew #(
        .W(B + 1),
        .DELAY(i)
    ) u_a (
        .clk,
        .reset,
        .in ({valid, a[i*B+:B]}),
        .out({live[i][0], digit_a[i][0]})
    );
    skew #(
        .W(B),
        .DELAY(i)
    ) u_b (
        .clk,
        .reset,
        .in (b[i*B+:B]),
        .out(digit_b[0][i])
    );
  end

  logic [S-1:0] selected[BANKS];
  logic [S*(W-UNIT)-1:0] corrections[BANKS];
  for (genvar g = 0; g < BANKS; g++) begin : g_bank
    lane_bank #(
        .S(S),
        .LANES(LANES),
        .B(B),
        .W(W),
        .UNIT(UNIT)
    ) u_bank (
        .clk,
        .reset,
        .offered(offered[g]),
        .first_group(first_group[g*GroupBits+:GroupBits]),
        .last_group(last_group[g*GroupBits+:GroupBits]),
        .line(line[g*LineBits+:LineBits]),
        .value(value[g*B+:B]),
        .level(level[g*LevelBits+:LevelBits]),
        .digits(digits[g*LANES*B+:LANES*B]),
        .group(group[g*GroupBits+:GroupBits]),
        .taken(taken[g]),
        .selected(selected[g]),
        .corrections(corrections[g])
    );
  end

  for (genvar i = 0; i < S; i++) begin : g_row
    for (genvar j = 0; j < S; j++) begin : g_column
      if (j > 0) begin : g_right
        skew #(
            .W(B + 1),
            .DELAY(1)
        ) u_a (
            .clk,
            .reset,
            .in ({live[i][j-1], digit_a[i][j-1]}),
            .out({live[i][j], digit_a[i][j]})
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
      logic [2*B-1:0] product;
      multiplier #(
          .A(B),
          .B(B)
      ) u_multiplier (
          .a(digit_a[i][j]),
          .b(digit_b[i][j]),
          .product
      );
      corrected_accumulator #(
          .P(2 * B),
          .W(W),
          .UNIT(UNIT)
      ) u_accumulator (
          .clk,
          .clear(first),
          .valid(live[i][j]),
          .product,
          .row(selected[i%BANKS][i] & ~of_b),
          .down(corrections[i%BANKS][j*(W-UNIT)+:W-UNIT]),
          .column(selected[j%BANKS][j] & of_b),
          .across(corrections[j%BANKS][i*(W-UNIT)+:W-UNIT]),
          .sum(sums[(i*S+j)*W+:W])
      );
    end
  end

  // What was valid within the last 2 S - 2 clocks is still on its way.
  logic [2*S-2:0] in_flight;
  assign in_flight[0] = valid;
  for (genvar t = 1; t < 2 * S - 1; t++) begin : g_in_flight
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
  assign idle = ~|in_flight & ~|offered;
endmodule
