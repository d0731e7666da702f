// A systolic array behind a memory port of BYTES bytes a clock, with double buffers.
//
// It multiplies [n, K] by [h, K] digits tile by tile, the outer loop over h; tiles at the edges are
// smaller. While a tile is computed, the sums of the one before are written, and then the digits of
// the next one are read into the other buffer (tile_port.sv). The digits of a tile come packed: for
// every k its column of A and its column of B; its sums leave packed, by rows.
module fed_array #(
    parameter int R = 4,
    parameter int C = 4,
    parameter int A = 8,
    parameter int B = 8,
    parameter int W = 32,
    parameter int K = 8,
    parameter int BYTES = 4
) (
    input  logic               clk,
    input  logic               reset,
    input  logic [       31:0] n,
    input  logic [       31:0] h,
    output logic               read,  // read_data holds the next bytes, which are taken
    input  logic [8*BYTES-1:0] read_data,
    output logic               write,
    output logic [8*BYTES-1:0] write_data,
    output logic               stall,  // nothing is computed
    output logic               finished
);
  localparam int Column = R * A + C * B;
  localparam int Beat = 8 * BYTES;
  localparam int Loads = (K * Column + Beat - 1) / Beat;
  localparam int Stores = (R * C * W + Beat - 1) / Beat;
  localparam int Clocks = R + C + K - 2;

  function automatic logic [31:0] beats(input logic [31:0] bits);
    return (bits + 32'(Beat) - 1) / 32'(Beat);
  endfunction

  function automatic logic [31:0] extent(input logic [31:0] whole, input logic [31:0] from,
                                         input logic [31:0] most);
    return whole - from < most ? whole - from : most;
  endfunction

  // The tile that starts next, the one after it, and the one that is computed.
  logic [31:0] from_n, from_h, rows, columns, next_n, next_h, next_rows, next_columns;
  logic [31:0] used_rows, used_columns, loads, tiles;
  assign rows = extent(n, from_n, R);
  assign columns = extent(h, from_h, C);
  assign next_n = from_n + R < n ? from_n + R : 0;
  assign next_h = from_n + R < n ? from_h : from_h + C;
  assign next_rows = extent(n, next_n, R);
  assign next_columns = extent(h, next_h, C);
  assign loads = beats(reset ? K * (extent(n, 0, R) * A + extent(h, 0, C) * B) :
                       K * (next_rows * A + next_columns * B));
  assign tiles = ((n + R - 1) / R) * ((h + C - 1) / C);

  logic start, capture;
  tile_port u_port (
      .clk,
      .reset,
      .tiles,
      .clocks(Clocks),
      .passing(0),
      .stores(beats(rows * columns * W)),
      .loads,
      .start,
      .capture,
      .read,
      .pass(),
      .write,
      .stall,
      .finished
  );

  // The buffers; a column at the end of one is never read beyond it.
  logic [Loads*Beat+Column-1:0] buffers[2];
  logic used;  // the buffer of the tile that is computed
  logic [31:0] loaded, k;
  logic valid, running;
  logic [31:0] of_a, of_b;
  logic [Column-1:0] column;
  assign running = k != 0;
  assign valid = start | running;
  assign of_a = (start ? rows : used_rows) * A;
  assign of_b = (start ? columns : used_columns) * B;
  assign column = buffers[start?~used : used][(start?0 : k)*(of_a+of_b)+:Column];

  logic [R*C*W-1:0] sums;
  systolic_array #(
      .R(R),
      .C(C),
      .A(A),
      .B(B),
      .W(W)
  ) u_array (
      .clk,
      .reset,
      .valid,
      .first(start),
      .a((R * A)'(column & ~({Column{1'b1}} << of_a))),
      .b((C * B)'((column >> of_a) & ~({Column{1'b1}} << of_b))),
      .idle(),
      .sums,
      .stepped(),
      .overflow()
  );

  // The sums of a tile without those of idle places.
  logic [Stores*Beat-1:0] leaving, held, packed_sums;
  logic [31:0] stored;
  always_comb begin
    packed_sums = 0;
    for (int i = 0; i < R; i++) begin
      for (int j = 0; j < C; j++) begin
        if (i < used_rows && j < used_columns)
          packed_sums[(i*used_columns+j)*W+:W] = sums[(i*C+j)*W+:W];
      end
    end
  end
  assign leaving = capture ? packed_sums : held;
  assign write_data = leaving[(capture ? 0 : stored)*Beat+:Beat];

  always_ff @(posedge clk) begin
    if (reset) begin
      from_n <= 0;
      from_h <= 0;
      used <= 0;
      loaded <= 0;
      k <= 0;
    end else begin
      if (read) buffers[start?used : ~used][(start?0 : loaded)*Beat+:Beat] <= read_data;
      loaded <= (start ? 0 : loaded) + 32'(read);
      k <= valid & (k != K - 1) ? k + 1 : 0;
      if (start) begin
        used <= ~used;
        used_rows <= rows;
        used_columns <= columns;
        from_n <= next_n;
        from_h <= next_h;
      end
      if (capture) held <= packed_sums;
      stored <= (capture ? 0 : stored) + 32'(write);
    end
  end
endmodule
