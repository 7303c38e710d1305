// What the reports say beside their figures, a sentence each: no run finds it out. Keep one as long as it is true.

const dense =
  "Sampled in Chromium on Zen 4, 83 % of the time is spent in the loops of dense tiles, which run at 94 % of the limit, 11 % in depthwise layers at 60 % of it: their loops of three to five rows alone reach 80 %, activations and sums of rows cost 1.3 % of the whole. V8's machine code has no spills in either. Tried without gain on Zen 5: buffers at cache lines, the expansion unfused where a map is small, depthwise runs of five pixels. On Zen 4: bands of half the size, a projection's tasks of more columns, a depthwise kernel's columns in one loop, blocks of 8 to 24 tiles (on Intel, too), groups of 4 and of 20 panels. Left out: the step of Strassen's algorithm that the detectors' linear layers take, 2 % less for the layers of many channels behind the depthwise ones on one thread (on Intel at most one), 3 to 5 % more on two. That step in an expansion of 160 channels takes as long as without it, and on Intel 8 % longer on two threads: halves of 80 steps end too soon. A dilated depthwise layer's taps on rows and columns of zeros, 23 % of them, spare 0.2 % where they are left out. On Intel 1x1 layers without a table of their pixels, of two steps a turn of the loop, take 1.4 % off the whole; in quiet minutes dense tiles are 82 % of the time then, at 97 % of what the micro-kernel sustains, depthwise layers 10 % at 64 %. Tried there without gain: a block without squeeze-excite as one kernel, whose inner maps are never in memory (2 to 5 % less in the two largest, 2 % more in the others), bands that go on where their thread left off (2 % more on two threads, which no longer read what they wrote), blocks that end where tiles do, bands of 14 Ki floats.";
const turbo =
  "On Intel the limit is a moment's: 30.5 GMAC/s once in a run, at 3.8 GHz, where the core's own clock is 3.4 GHz and the same micro-kernel has 27.5 for minutes. Of those, in quiet minutes, LR-ASPP reaches 83 %, a GEMM whose operands are near 89 to 97 %. In busier ones the loops of its dense tiles run at 77 %, for want of nearer memory: a GEMM of 400 pixels, 960 channels and 160 outputs has 25 GMAC/s in the browser with the same operands again, 23 with other weights each time, 21 with other pixels, too.";
const streamed =
  "Its 22 MB of weights come from memory once a run, for 0.2 GMAC: blocks 14 and 15 (7 x 7 pixels) run at two thirds of the limit, the classifier (one pixel) at a fifth, which is 24 GB/s where the memory of such a host reads 26. A GEMM of 48 pixels in the browser has 24 GMAC/s with weights from memory and 28 with the same ones again. Tried without gain on Zen 5: gates that scale pixels instead of weights, squeeze layers in two streams, the expansion unfused. On Zen 4: a layer's weights read in one stream before it, or a value of each of its cache lines or pages, gates that scale a panel of weights where it is used. On Intel, where weights leave the last cache within 10 ms and come back from memory at 12 GB/s: lines or pages of the next panel read between two tiles, the first tiles of a panel in passes of 40 to 128 steps, alone or over two to eight panels; a layer's panel read by a short loop before it multiplies, which halves the time of gates in int8 (fetch.rs); gates that scale pixels instead of weights where a map is small. The classifier's panels in four streams take 23 % less there, 2 % of the whole, but more than one stream on Zen 5.";
const pairs =
  "58 % of the time is spent in the loops of dense tiles, at 88 % of the limit: sums of 16 to 40 steps, and multiplications and additions of pairs that wait for the CPU's four pipes, so that a tenth fewer instructions a step (two steps a turn, offsets in the loads) took as long. 15 % goes into epilogues, which wait for memory, too: a fifth fewer instructions for a byte took half a percent off the whole.";
const handedOver =
  "On a quiet Zen 4 host a timeline of LR-ASPP in f32 shows both threads at work in 15.8 of 16.7 ms, against 31.8 ms on one: 0.4 ms are of one thread, as squeeze layers' sums are, and 0.2 ms go into waiting for each other. In other minutes the host lets the two cores do the work of 1.4, as repeated runs show on an unchanged single core, and Linux leaves both threads on one. Until November 2026 V8 also compiled the work of single layers anew, up to eight times in the first 0.6 s; parallel.rs says why. On Intel a timeline of LR-ASPP in int8 had 0.36 of 10.4 ms before, between and after what is shared, and has 0.19 of 9.7: strips of the picture are a quarter of it at most, the mask's fresh pages are touched beside the argmax, and 45 us wake the other thread, in the browser. A region costs 1 to 3 us beside its tasks. Tasks of 24, 24, 24 and 8 rows had one thread wait 40 to 70 us for the other in two layers; what is shared takes two threads 7 % more time together than one. Waits two and three times as long gain nothing, nor do tasks of half the size, nor smaller parts of the mask, which share cells of scores.";
const firstOnThreads =
  "Where other threads want one of the two cores, as Chromium does for a new page, Linux puts both of the engine's threads on the other one, and leaves them there for up to 50 ms, as /proc shows: the first runs then take as long as on one thread. A warm-up on one thread alone or until the runs are even, and longer or shorter waits between layers change nothing of it.";
const busy = 'The steps in the part of Zen 3 are of a host that was busy: the same code has none on Zen 4 and Zen 5.';

/** Why a goal is missed and what was tried, by model, dtype and figure (goals.mjs), as `large224 f32, of the limit`, or by figure for all models. */
export const goalNotes = {
  'frcnn320 f32, of the limit': turbo,
  'lraspp320 f32, of the limit': `${dense} ${turbo}`,
  'lraspp320 f32, over the best peer': 'As for its share of the limit.',
  'large224 f32, of the limit': streamed,
  'large224 f32, over the best peer': 'As for its share of the limit.',
  'large224 int8, over the best peer': pairs,
  '2 threads over 1': handedOver,
  'first run, 2 threads': firstOnThreads,
};

/** Why time jumps between two points of a series, by series and dtype, as `LR-ASPP by picture side, f32`. */
export const scaleNotes = {
  'Faster R-CNN by picture side, f32': busy,
  'LR-ASPP by picture side, f32': busy,
  'Faster R-CNN 320 by proposals, f32': busy,
};
