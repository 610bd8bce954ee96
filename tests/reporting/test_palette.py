"""Colours can be read in light and in dark, and by people who do not see red and green apart."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from fairpress.reporting.palette import DARK, LIGHT, self_themed, themed, variables

VERDICTS = ("harm", "loss", "inconclusive", "no_harm")
# Machado, Oliveira and Fernandes 2009, table of simulation matrices, severity 1.0 (on linear RGB).
DEFICIENCIES = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def linear(colour):
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(a, b):
    """Return the contrast ratio of WCAG 2."""
    light, dark = sorted((linear(c) @ [0.2126, 0.7152, 0.0722] for c in (a, b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def lab(rgb):
    """Return CIE 1976 L*a*b* of linear sRGB, white D65."""
    matrix = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    xyz = np.array(matrix) @ np.clip(rgb, 0, 1) / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_texts_have_the_contrast_that_wcag_asks_for(colours):
    for name in ("ink", "soft", "link", *VERDICTS, "void", "not_estimable"):
        for ground in ("paper", "card"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for fill in ("harm-fill", "loss-fill", "inconclusive-fill", "no_harm-fill"):
        assert contrast(colours["ink"], colours[fill]) >= 7, fill
    assert contrast(colours["paper"], colours["harm"]) >= 4.5  # a cell of the grid


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_no_harm_is_never_mistaken_for_a_loss(colours, deficiency):
    seen = {v: lab(np.array(DEFICIENCIES[deficiency]) @ linear(colours[v])) for v in VERDICTS}
    for bad in ("harm", "loss", "inconclusive"):
        assert np.linalg.norm(seen[bad] - seen["no_harm"]) > 25, bad  # 2.3 is just noticeable


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_series_are_told_apart(colours):
    series = [linear(colours[k]) for k in ("first", "second", "third", "fourth", "fifth")]
    for matrix in (np.eye(3), *map(np.array, DEFICIENCIES.values())):
        for a, b in itertools.combinations(series, 2):
            assert np.linalg.norm(lab(matrix @ a) - lab(matrix @ b)) > 10


def test_both_schemes_have_the_same_names_and_no_colour_twice():
    assert LIGHT.keys() == DARK.keys()
    assert len(set(LIGHT.values())) == len(LIGHT)  # a drawing's colour has one name


def test_a_drawing_takes_its_colours_from_the_page():
    svg = f'<svg xmlns="x"><path fill="{LIGHT["harm"]}" stroke="#000"/><path fill="#123456"/></svg>'
    assert themed(svg) == (
        f'<svg xmlns="x"><path fill="var(--harm,{LIGHT["harm"]})" stroke="var(--ink,{LIGHT["ink"]})"/>'
        '<path fill="#123456"/></svg>'
    )
    alone = self_themed(svg)
    assert alone.index("prefers-color-scheme: dark") < alone.index("<path")
    declared = set(re.findall(r"--[\w-]+", variables(DARK)))
    assert set(re.findall(r"var\((--[\w-]+)", alone)) <= declared
