"""TEMPORARY."""
from __future__ import annotations
import numpy as np
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, t_tail
from fairpress.auditing.verdicts.noninferiority import score_statistic
def p_value(change, flip_rate, margin):
    inside = np.minimum(margin, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.maximum(t_tail(change.df, (inside - change.centre) / change.se), t_tail(change.df, -score_statistic(change, flip_rate, inside)))
    return np.where(margin >= 1, 0.0, p)
def loss_upper_bound(loss: TEstimate, flip_share: Floats, confidence: float) -> Floats:
    low, high = loss.value, np.ones_like(loss.value)
    for _ in range(40):
        m=(low+high)/2; h=p_value(loss, flip_share, m) > 1-confidence
        low, high = np.where(h,m,low), np.where(h,high,m)
    return high
def loss_interval(loss, flip_share, confidence):
    low, high = loss.interval(confidence)
    return low, np.maximum(high, loss_upper_bound(loss, flip_share, (1+confidence)/2))
def harm_p_value(loss, flip_share, margin): return loss.p_above(margin)
