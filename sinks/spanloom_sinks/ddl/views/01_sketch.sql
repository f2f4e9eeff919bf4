-- The q-quantile of a merged sketch, in the unit of its values; NULL of an empty one. `sketch` is sumMap(s.index, s.count):
-- OpenTelemetry's base-2 exponential histogram at scale 6, bucket i holding (2^(i/64), 2^((i+1)/64)]; the point answered is at most 0.55 % off.
CREATE OR REPLACE FUNCTION sketchQuantile AS (q, sketch) -> if(
    empty(sketch.2), NULL,
    2 / (exp2(1 / 64) + 1) * exp2((sketch.1[arrayFirstIndex(c -> c >= greatest(1, ceil(q * arraySum(sketch.2))), arrayCumSum(sketch.2))] + 1) / 64));
-- The point that stands for a bucket. With quantileExactWeightedOrNullArray(0.95)(s.index, s.count::Array(UInt64)) for the bucket it is
-- what sketchQuantile answers of all sketches together, some four times faster.
CREATE OR REPLACE FUNCTION sketchValue AS (index) -> 2 / (exp2(1 / 64) + 1) * exp2((index + 1) / 64);
