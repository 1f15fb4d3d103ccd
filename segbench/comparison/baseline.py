"""Every network minus a chosen one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from segbench.comparison.holm import holm
from segbench.comparison.pairs import ALPHA

COLUMNS = ["model", "difference", "low", "high", "p", "p_holm", "parted", "equivalent", "effect", "magnitude"]


def over_baseline(pairs: pd.DataFrame, baseline: str | None) -> pd.DataFrame:
    """Return a row for each network other than the baseline, the best first; none without a baseline.

    The columns are those of `segbench.comparison.pairs.pairs`, of the network minus the baseline. Holm's
    correction is over these comparisons only: they were chosen before the scores were known.
    """
    ahead = pairs[pairs["worse"] == baseline].rename(columns={"better": "model"})
    behind = pairs[pairs["better"] == baseline].rename(columns={"worse": "model"})
    behind = behind.assign(
        difference=-behind["difference"], low=-behind["high"], high=-behind["low"], effect=-behind["effect"]
    )
    own = [part for part in (ahead, behind) if not part.empty]
    if not own:
        return pd.DataFrame(columns=COLUMNS)
    frame = pd.concat(own, ignore_index=True)
    frame["p_holm"] = holm(frame["p"].to_numpy(float))
    frame["parted"] = np.asarray(frame["p_holm"] < ALPHA)
    return frame.sort_values("difference", ascending=False, ignore_index=True)[COLUMNS]
