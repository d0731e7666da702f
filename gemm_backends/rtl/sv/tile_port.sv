// The order in which an array with double buffers and its memory port work on tiles.
//
// A tile starts as soon as its operands are there, the array is done with the one before, and the
// port has nothing left to do of what that one let it do. From then on the array computes for `clocks`
// clocks, and the port writes the sums of the tile before, lets through unfinished sums of this one,
// and reads the operands of the next one. All sizes are beats of the port.
module tile_port (
    input  logic        clk,
    input  logic        reset,
    input  logic [31:0] tiles,
    input  logic [31:0] clocks,    // of the tile that starts
    input  logic [31:0] passing,   // unfinished sums of that tile, to and from the memory
    input  logic [31:0] stores,    // its finished sums
    input  logic [31:0] loads,     // operands of the tile after it; in reset, of the first
    output logic        start,     // a tile starts, and its first clock is this one
    output logic        capture,   // the sums of the tile before leave the array
    output logic        read,
    output logic        pass,
    output logic        write,
    output logic        stall,     // nothing is computed
    output logic        finished
);
  logic [31:0] to_start, clock, lasts, to_read, to_pass, to_write, sums;
  logic held;  // the array has sums that have not been captured
  logic settled, ready;
  logic [31:0] reads, passes, writes;

  assign settled = clock == lasts;
  assign ready = settled & (to_read == 0) & (to_pass == 0) & (to_write == 0) & ~reset;
  assign start = ready & (to_start != 0);
  assign capture = ready & held;
  assign stall = settled & ~start;
  assign finished = ready & (to_start == 0) & ~held;

  // What is left to do, counted before this clock.
  assign writes = capture ? sums : to_write;
  assign passes = start ? passing : to_pass;
  assign reads = start ? (to_start == 1 ? 0 : loads) : to_read;
  assign write = ~reset & (writes != 0);
  assign pass = ~reset & (writes == 0) & (passes != 0);
  assign read = ~reset & (writes == 0) & (passes == 0) & (reads != 0);

  always_ff @(posedge clk) begin
    if (reset) begin
      to_start <= tiles;
      to_read <= loads;
      to_pass <= 0;
      to_write <= 0;
      clock <= 0;
      lasts <= 0;
      held <= 0;
    end else begin
      to_write <= writes - 32'(write);
      to_pass <= passes - 32'(pass);
      to_read <= reads - 32'(read);
      if (start) begin
        to_start <= to_start - 1;
        clock <= 1;
        lasts <= clocks;
        sums <= stores;
        held <= 1;
      end else begin
        if (~settled) clock <= clock + 1;
        if (capture) held <= 0;
      end
    end
  end
endmodule
