"""One day of banner auctions: who enters, who wins, who clicks and buys, and what might have been.

An advertiser enters a request it targets if its throttle lets it and its budget can pay its bid.
Auctions run hour by hour: all of the hour at once, then only those up to the click that ended a
budget are kept, and the rest runs again without that advertiser. That is exact, since inside an
hour nothing else depends on the past; there are as many repeats as budgets that end.

Source: Agarwal, Ghosh, Wei and You (2014), KDD (the throttle).
Differences from the paper: see `reclib.shop.advertising`.
Chapter: shop/simulation.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from reclib.shop._advertisers import AdRequests, Advertisers, Market, Streams
from reclib.shop._auctions import Floats, Ints, Outcome, ranked, run_gsp, run_vcg
from reclib.shop._config import DAY, START
from reclib.shop._pacing import next_rate

HOURS = 24
_BUY_PULL, _ORGANIC_PULL = -2.6, -5.5


def _sigmoid(logits: Floats) -> Floats:
    return 0.5 * (1 + np.tanh(0.5 * logits))


def outcomes(
    without: Floats, by_ad: Floats, lost: Floats, conversion: NDArray[np.bool_], draw: Floats
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each customer buys without the ad, and with it; as alike as can be.

    Args:
        without: (B,) probability of a purchase without the ad.
        by_ad: (B,) probability of ``conversion``, a purchase by way of the ad.
        lost: (B,) probability of a purchase that the ad displaces, at most ``without``.
        conversion: (B,) drawn with probability ``by_ad``.
        draw: (B,) uniform.

    Returns:
        Purchases of probability ``without`` and ``without + by_ad - lost``.
    """
    kept, rest = without - lost, 1 - by_ad  # rest: all who do not convert
    stays = draw * rest < kept
    # Sales are lost first to the ad's own conversions, then to customers it puts off.
    put_off = draw * rest < kept + np.maximum(lost - by_ad, 0)
    return np.where(conversion, draw * by_ad < lost, put_off), conversion | stays


class Purse:
    """What each advertiser has left in a flight, and its rate of taking part."""

    def __init__(self, bid: Floats, budget: Floats) -> None:
        self.bid, self.budget = bid, budget
        self.spent, self.rate = np.zeros(len(bid)), np.ones(len(bid))

    @property
    def able(self) -> NDArray[np.bool_]:
        """(A,) whether the budget can pay one more click at the bid."""
        return self.spent + self.bid <= self.budget

    def pay(self, outcome: Outcome, clicks: NDArray[np.bool_]) -> int:
        """Charge the clicks (n, S) until a budget ends; how many rows then hold."""
        rows, slots = np.nonzero(clicks)
        if not len(rows):
            return len(clicks)
        cost = np.zeros((len(rows), len(self.bid)))
        cost[np.arange(len(rows)), outcome.winners[rows, slots]] = outcome.prices[rows, slots]
        spent = self.spent + cost.cumsum(0)
        ended = (self.able & (spent + self.bid > self.budget)).any(1)
        held = rows[ended.argmax()] + 1 if ended.any() else len(clicks)
        self.spent = spent[np.searchsorted(rows, held) - 1]
        return int(held)


class BannerDay:
    """One day of requests (B, in time order) before the advertisers (A); arrays are (B, A).

    Draws do not depend on who takes part: the same customer answers the same ad alike whatever the
    mechanism, the reserve or the pacing.
    """

    def __init__(
        self,
        streams: Streams,
        requests: AdRequests,
        rows: Ints,
        day: int,
        ads: Advertisers,
        market: Market,
    ) -> None:
        self.day, self.ads, self.market = day, ads, market
        self.request, self.user = requests.request[rows], requests.user[rows]
        self.time = requests.timestamp[rows]
        self.effects = np.asarray(market.slot_effects, float)
        self.draws = {
            name: streams.stream(f"ads/{name}", day).random((len(rows), len(ads.bid)))
            for name in ("throttle", "clicks", "conversions", "organic")
        }
        department = ads.catalogue.leaf_department[requests.leaf[rows]]
        self._choose(requests.vectors[rows], department)
        noise = streams.stream("ads/quality", day).normal(0, market.noise, self.ctr.shape)
        self.quality = np.minimum(self.ctr * np.exp(noise), 1.0)

    def _choose(self, vectors: Floats, department: Ints) -> None:
        """Each advertiser's best product for each customer in the request's department."""
        ads, market = self.ads, self.market
        shape = (len(vectors), len(ads.bid))
        self.ad = np.full(shape, -1)  # of M, -1: not a target
        self.liking, self.ctr = np.zeros(shape), np.zeros(shape)
        scale = market.taste * vectors.shape[1] ** 0.5
        there = ads.catalogue.arrival[ads.items] <= self.day
        appeal = market.pull + 0.8 * (ads.catalogue.bait[ads.items] - 0.3) + ads.response
        for code in np.unique(department):
            rows = np.flatnonzero(department == code)
            shown = np.flatnonzero(there & (ads.department == code))
            liking = scale * vectors[rows] @ ads.catalogue.vectors[ads.items[shown]].T  # (n, m)
            for owner in np.unique(ads.owner[shown]):
                own = np.flatnonzero(ads.owner[shown] == owner)
                best = own[(liking[:, own] + appeal[shown[own]]).argmax(1)]
                like = liking[np.arange(len(rows)), best]
                self.ad[rows, owner], self.liking[rows, owner] = shown[best], like
                self.ctr[rows, owner] = _sigmoid(like + appeal[shown[best]])

    def serve(
        self, purse: Purse, passed: Floats
    ) -> tuple[NDArray[np.bool_], Outcome, NDArray[np.bool_]]:
        """Run the auctions; ``passed`` (24,) is the share of the flight at each hour's end.

        Returns:
            entered (B, A), the outcome (B, S) and its clicks (B, S).
        """
        shape = (len(self.time), len(self.effects))
        entered = np.zeros(self.ad.shape, dtype=bool)
        winners, prices, clicks = np.full(shape, -1), np.full(shape, np.nan), np.zeros(shape, bool)
        for low, high, share in self._hours(passed):
            while low < high:
                enters, outcome, click = self._auction(slice(low, high), purse)
                held = slice(low, low + purse.pay(outcome, click))
                n = held.stop - low
                entered[held], clicks[held] = enters[:n], click[:n]
                winners[held], prices[held] = outcome.winners[:n], outcome.prices[:n]
                low = held.stop
            if self.market.throttle:
                purse.rate = next_rate(purse.rate, purse.spent, purse.budget * share)
        return entered, Outcome(winners, prices), clicks

    def _hours(self, passed: Floats) -> Iterator[tuple[int, int, float]]:
        edges = START + self.day * DAY + 3600 * np.arange(HOURS + 1)
        rows = np.searchsorted(self.time, edges)
        yield from zip(rows[:-1].tolist(), rows[1:].tolist(), passed.tolist(), strict=True)

    def _auction(
        self, rows: slice, purse: Purse
    ) -> tuple[NDArray[np.bool_], Outcome, NDArray[np.bool_]]:
        """Auctions of ``rows`` as if nobody's budget ended among them."""
        enters = (self.ad[rows] >= 0) & (self.draws["throttle"][rows] < purse.rate) & purse.able
        run = run_gsp if self.market.mechanism == "gsp" else run_vcg
        outcome = run(
            np.where(enters, purse.bid, 0.0), self.quality[rows], self.market.reserve, self.effects
        )
        at = np.maximum(outcome.winners, 0)
        chance = self.effects * np.take_along_axis(self.ctr[rows], at, axis=1)
        draw = np.take_along_axis(self.draws["clicks"][rows], at, axis=1)
        return enters, outcome, (outcome.winners >= 0) & (draw < chance)

    def tables(
        self, entered: NDArray[np.bool_], outcome: Outcome, clicks: NDArray[np.bool_]
    ) -> dict[str, dict[str, NDArray]]:
        """Columns of the day's auctions, bids and uplift."""
        slot, price = np.zeros(self.ad.shape, np.int8), np.full(self.ad.shape, np.nan)
        click = np.zeros(self.ad.shape, dtype=bool)
        row, k = np.nonzero(outcome.winners >= 0)
        who = outcome.winners[row, k]
        slot[row, who], price[row, who], click[row, who] = (
            k + 1,
            outcome.prices[row, k],
            clicks[row, k],
        )
        uplift, conversion = self._responses(row, who, k, clicks[row, k])
        converted = np.zeros(self.ad.shape, dtype=bool)
        converted[row, who] = conversion
        revenue = np.zeros(self.ad.shape)
        revenue[row, who] = outcome.prices[row, k] * self.effects[k] * self.ctr[row, who]

        request, ad = np.nonzero(self.ad >= 0)
        at = (request, ad)
        bids = {
            "request": self.request[request],
            "day": np.full(len(request), self.day, dtype=np.int16),
            "advertiser": ad.astype(np.int16),
            "item": self.ads.items[self.ad[at]].astype(np.int32),
            "entered": entered[at],
            "ctr": self.ctr[at],
            "quality": self.quality[at],
            "price_to_win": self._price_to_win(entered)[at],
            "vcg_price": self._vcg_price(entered)[at],
            "expected_revenue": revenue[at],
        }
        inside = entered[at]
        request, ad = request[inside], ad[inside]
        at = (request, ad)
        auctions = {
            "request": self.request[request],
            "timestamp": self.time[request],
            "advertiser": ad.astype(np.int16),
            "item": self.ads.items[self.ad[at]].astype(np.int32),
            "slot": slot[at],
            "bid": self.ads.bid[ad],
            "won": slot[at] > 0,
            "price": price[at],
            "click": click[at],
            "conversion": converted[at],
        }
        return {"auctions": auctions, "bids": bids, "uplift": uplift}

    def _price_to_win(self, entered: NDArray[np.bool_]) -> Floats:
        """(B, A) least bid with which each would get the last slot, were all others as they are."""
        n_slots, reserve = len(self.effects), self.market.reserve
        bids = np.where(entered, self.ads.bid, 0.0)
        order, scores = ranked(bids, self.quality, reserve, n_slots + 1)
        holds = (order[:, :n_slots, None] == np.arange(len(self.ads.bid))).any(1)
        score = np.where(holds, scores[:, [n_slots]], scores[:, [n_slots - 1]])
        chance = np.where(self.quality > 0, self.quality, 1.0)
        return np.maximum(score / chance, reserve)

    def _vcg_price(self, entered: NDArray[np.bool_]) -> Floats:
        values = np.where(entered, self.ads.value, 0.0)
        winners, prices = run_vcg(values, self.ctr, self.market.reserve, self.effects)
        price = np.full(self.ad.shape, np.nan)
        row, k = np.nonzero(winners >= 0)
        price[row, winners[row, k]] = prices[row, k]
        return price

    def _responses(
        self, row: Ints, who: Ints, k: Ints, click: NDArray[np.bool_]
    ) -> tuple[dict[str, NDArray], NDArray[np.bool_]]:
        """Conversions of the ads shown, and both potential outcomes, from one draw."""
        ads, at = self.ads, (row, who)
        ad, liking = self.ad[at], self.liking[at]
        convert = _sigmoid(
            _BUY_PULL + 0.5 * liking + 1.5 * (ads.catalogue.quality[ads.items[ad]] - 0.7)
        )
        conversion = click & (self.draws["conversions"][at] < convert)
        by_ad = self.effects[k] * self.ctr[at] * convert
        without = _sigmoid(_ORGANIC_PULL + liking)
        lost = np.minimum(without, ads.displaced[ad] * by_ad)
        bought_without, bought_with = outcomes(
            without, by_ad, lost, conversion, self.draws["organic"][at]
        )
        uplift = {
            "request": self.request[row],
            "user": self.user[row],
            "advertiser": who.astype(np.int16),
            "item": ads.items[ad].astype(np.int32),
            "slot": (k + 1).astype(np.int8),
            "purchase_without": without,
            "purchase_with": without + by_ad - lost,
            "bought_without": bought_without,
            "bought_with": bought_with,
        }
        return uplift, conversion
