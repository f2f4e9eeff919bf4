-- Dollars of summed nano-dollars, beside which stands how many spans have no price. What is unknown is never 0: NULL where
-- nothing is known; else the known part, a lower bound where `unpriced` is not 0.
CREATE OR REPLACE FUNCTION knownDollars AS (cost, unpriced) -> if(cost = 0 AND unpriced > 0, NULL, cost / 1e9);
