// A systolic array behind a memory port of BYTES bytes a clock, with double buffers.
//
// While a tile is computed, the digits of the next one are read into the other buffer, and then the
// sums of the one before are written. A tile starts as soon as its digits are there, the array is done
// and the sums before it have been written; until then `stall` is set. The digits of a tile come
// packed: for every k a column of A and one of B.
module fed_array #(
    parameter int R = 4,
    parameter int C = 4,
    parameter int A = 8,
    parameter int B = 8,
    parameter int W = 32,
    parameter int K = 8,  // columns of a tile
    parameter int BYTES = 4
) (
    input  logic               clk,
    input  logic               reset,
    input  logic [       31:0] tiles,
    output logic               read,  // read_data holds the next bytes, which are taken
    input  logic [8*BYTES-1:0] read_data,
    output logic               write,
    output logic [8*BYTES-1:0] write_data,
    output logic               stall,  // nothing is computed
    output logic               finished
);
  localparam int Column = R * A + C * B;  // whole bytes
  localparam int Beat = 8 * BYTES;
  localparam int Loads = (K * Column + Beat - 1) / Beat;
  localparam int Stores = (R * C * W + Beat - 1) / Beat;
  localparam int Clocks = R + C + K - 2;

  logic [7:0] buffers[2][Loads*BYTES];
  logic used;  // the buffer of the tile that is computed
  logic full;  // the other one has all its digits
  logic [31:0] loaded, to_load, to_start, to_store, clock, stored;
  logic running, waiting;  // a tile is computed; its sums are still in the array
  logic start, capture, settled;
  logic [R*C*W-1:0] sums;
  logic [Stores*Beat-1:0] held, leaving;

  assign settled = waiting | (running & (clock == Clocks));
  assign capture = settled & (stored == Stores);
  assign start = full & (to_start != 0) & (capture | ~(running | waiting));
  assign stall = ~(start | (running & (clock != Clocks)));
  assign finished = (to_store == 0) & (stored == Stores);

  // The port: digits first, then sums.
  logic target;
  assign target = start ? used : ~used;
  assign read = (to_load != 0) & (start | ~full) & ~reset;
  assign leaving = capture ? (Stores * Beat)'(sums) : held;
  assign write = ~read & ~reset & (capture | (stored != Stores));
  assign write_data = leaving[(capture ? 0 : stored)*Beat+:Beat];

  logic valid;
  logic [31:0] k;
  logic [Column-1:0] digits;
  assign valid = start | (running & (clock < K));
  assign k = start ? 0 : clock;
  for (genvar i = 0; i < Column / 8; i++) begin : g_byte
    assign digits[8*i+:8] = buffers[start?~used : used][(valid?k : 0)*(Column/8)+i];
  end

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
      .a(digits[R*A-1:0]),
      .b(digits[Column-1:R*A]),
      .idle(),
      .sums,
      .stepped(),
      .overflow()
  );

  always_ff @(posedge clk) begin
    if (reset) begin
      used <= 0;
      full <= 0;
      running <= 0;
      waiting <= 0;
      loaded <= 0;
      clock <= 0;
      stored <= Stores;
      to_load <= tiles;
      to_start <= tiles;
      to_store <= tiles;
    end else begin
      if (read) begin
        for (int i = 0; i < BYTES; i++) buffers[target][loaded*BYTES+i] <= read_data[8*i+:8];
        loaded <= loaded == Loads - 1 ? 0 : loaded + 1;
        if (loaded == Loads - 1) to_load <= to_load - 1;
      end
      if (read && loaded == Loads - 1) full <= 1;
      else if (start) full <= 0;

      if (start) begin
        used <= ~used;
        to_start <= to_start - 1;
        running <= 1;
        clock <= 1;
      end else if (running) begin
        if (clock == Clocks) running <= 0;
        else clock <= clock + 1;
      end
      waiting <= settled & ~capture;

      if (capture) begin
        held <= (Stores * Beat)'(sums);
        to_store <= to_store - 1;
        stored <= 32'(write);
      end else if (write) stored <= stored + 1;
    end
  end
endmodule
