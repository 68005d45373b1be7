"""Advertisers bid for two banners beside each request, within a budget; the truth is known.

P(click in slot k) = effect_k * c,  c = sigmoid(pull + taste sqrt(K) <user, item> + .8 (bait - .3)
+ response_i); the platform knows c only times noise, ranks bid * noisy c, and charges each click
the price of `gsp` (or `vcg`). A throttle spreads each budget over its flight. Advertising runs
after the shop's days and changes nothing of what customers do there.

Of one ad, a = P(click and conversion) and o = P(the customer buys the product without the ad):
with the ad it is o + a - min(o, d_i a), where d_i is what the ad displaces: below 1 the ad sells,
at 1 it pays for sales that came anyway, above 1 it puts people off. So conversions are not uplift.

Source: Edelman, Ostrovsky and Schwarz (2007) and Varian (2007), auctions; Agarwal, Ghosh, Wei and
You (2014), KDD, throttle; Rohde et al. (2018), arXiv:1808.00720 (RecoGym), for ad response that is
related to taste but not equal to it. No code is taken.

Differences from the specification:

1. A budget holds 20 to 60 clicks at the advertiser's own bid for a *flight* of whole days with
   about 80,000 requests, in proportion to the requests (specification: of a day). Only the `full`
   shop has so many a day; at `small` all advertisers together get about 60 clicks a day.
2. At most one advertiser to 25 products (30 in all), so that `tiny` has 12.
3. The throttle steps once an hour (Agarwal et al.: a minute), against the share of the flight's
   requests by a forecast: equal days, each with the hours of the mean day.
4. pull is -6.0 (-5.2): each advertiser shows the customer the best of its products, and
   requests come for shelves that the customer likes. So .5 to .9 % of the ads shown are clicked.
5. Taste weighs .5 logits per standard deviation of a random cosine, response N(0, .3); a bid is
   shade * value, shade uniform in .5 to 1; noise of the quality is log-normal, .2 (none stated).
   An advertiser is a brand; it targets its one or two largest departments.
6. Stock, promotions, price and consent do not enter: an ad is shown from the product's arrival on.

Chapter: shop/simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reclib.shop._advertisers import AdCatalogue, AdRequests, Advertisers, Market, Streams
from reclib.shop._auctions import Floats, Ints, Outcome, gsp, vcg
from reclib.shop._banners import HOURS, BannerDay, Purse
from reclib.shop._config import DAY, START
from reclib.shop._pacing import Pacing, greedy_pacing, optimal_pacing, throttled_pacing

__all__ = [
    "AdCatalogue",
    "AdRequests",
    "AdTruth",
    "Advertising",
    "Market",
    "Outcome",
    "Pacing",
    "greedy_pacing",
    "gsp",
    "optimal_pacing",
    "run_market",
    "throttled_pacing",
    "vcg",
]


@dataclass(frozen=True, eq=False, repr=False)
class AdTruth:
    """What only the simulator knows.

    Attributes:
        advertisers: advertiser, value (of a click), shade.
        ads: advertiser, item, response, displaced (d above).
        bids: request, day, advertiser, item, entered, ctr (c above, first slot), quality (the
            platform's estimate), price_to_win (least bid that gets the last slot),
            vcg_price (of a click, if all who entered bid their value and c were known; NaN for
            those without a slot then), expected_revenue (of the slot won, 0 if none). A row for
            each request and advertiser whose target it is; in the order of ``auctions``, whose
            rows are those with ``entered``.
        uplift: request, user, advertiser, item, slot, probability and outcome of a purchase
            (purchase_without, purchase_with, bought_without, bought_with), of each ad shown.
    """

    advertisers: pd.DataFrame
    ads: pd.DataFrame
    bids: pd.DataFrame
    uplift: pd.DataFrame


@dataclass(frozen=True, eq=False, repr=False)
class Advertising:
    """A simulated advertising market: public tables, and the truth apart from them.

    Attributes:
        market: the settings.
        advertisers: advertiser, name, items, departments (tuples), bid, budget (of a flight).
        flights: flight, first_day, last_day.
        auctions: request, timestamp, advertiser, item, slot (0: lost), bid, won, price (of a
            click; NaN where lost), click, conversion.
    """

    market: Market
    advertisers: pd.DataFrame
    flights: pd.DataFrame
    auctions: pd.DataFrame
    truth: AdTruth


def run_market(
    streams: Streams, requests: AdRequests, catalogue: AdCatalogue, market: Market | None = None
) -> Advertising:
    """Auction the banners of all requests, in time order, within the budgets.

    An advertiser bids while its budget can pay its bid, so no budget is overspent, by one click or
    by a cent. Auctions run hour by hour, in runs up to the click that ends a budget; the result is
    that of one auction after the other.

    Args:
        streams: the `SimConfig`, or anything with its ``stream``; draws from ``ads/...``.
        requests: where banners are shown. Memory grows with them, about 200 bytes a bid at
            the peak, 8 bids a request; of the `full` shop pass some days.
        catalogue: the products.
        market: the settings.

    Returns:
        The market's tables; they do not depend on the order of ``requests``.

    Raises:
        ValueError: if no brand has 3 products in two departments.
    """
    market = market or Market()
    ads = Advertisers(streams, catalogue, market)
    order = np.lexsort((requests.request, requests.timestamp))
    flights, share = _flights(requests.timestamp, market)
    scale = len(order) / len(flights) / market.flight_requests
    budget = ads.bid * ads.budget_clicks * scale
    days = (requests.timestamp[order] - START) // DAY
    parts: list[dict[str, dict[str, NDArray]]] = []
    for first, last in flights:
        purse = Purse(ads.bid, budget)
        for day in range(first, last + 1):
            rows = order[np.searchsorted(days, day) : np.searchsorted(days, day, side="right")]
            passed = (day - first + share) / (last + 1 - first)
            today = BannerDay(streams, requests, rows, day, ads, market)
            parts.append(today.tables(*today.serve(purse, passed)))
    frames = {
        name: pd.DataFrame(
            {key: np.concatenate([part[name][key] for part in parts]) for key in parts[0][name]},
            copy=False,
        )
        for name in parts[0]
    }
    spans = pd.DataFrame(flights, columns=["first_day", "last_day"])
    spans.insert(0, "flight", np.arange(len(spans)))
    truth = AdTruth(ads.secrets(), ads.products(), frames["bids"], frames["uplift"])
    return Advertising(market, ads.public(budget), spans, frames["auctions"], truth)


def _flights(timestamp: Ints, market: Market) -> tuple[list[tuple[int, int]], Floats]:
    """First and last day of each flight, and (24,) share of a day's requests by each hour's end."""
    first, last = ((int(edge) - START) // DAY for edge in (timestamp.min(), timestamp.max()))
    n_days = last + 1 - first
    n_flights = min(max(1, round(len(timestamp) / market.flight_requests)), n_days)
    edges = first + np.round(np.linspace(0, n_days, n_flights + 1)).astype(int)
    hours = np.bincount((timestamp - START) % DAY // 3600, minlength=HOURS)
    spans = [(int(low), int(high) - 1) for low, high in pairwise(edges)]
    return spans, hours.cumsum() / len(timestamp)
