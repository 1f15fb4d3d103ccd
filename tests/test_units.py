import math

from segbench.units import NOTHING, count, duration, energy, memory


def test_numbers_are_short():
    assert [count(v) for v in (134_500_000, 1234, 12, 27.9e9)] == ["134.5 M", "1.2 k", "12", "27.9 G"]
    assert [duration(v) for v in (0.0475, 1, 90, 8060, 200_000)] == [
        "47.5 ms",
        "1 s",
        "1.5 min",
        "2.24 h",
        "2.31 d",
    ]
    assert [energy(used) for used in (0.0234, 1500)] == ["0.023 Wh", "1.5 kWh"]
    assert [memory(size) for size in (3 * 2**30, 2**30 / 4, 3.3 * 2**20)] == ["3 GiB", "0.25 GiB", "3.3 MiB"]
    assert {count(math.nan), duration(math.nan), memory(math.nan)} == {NOTHING}
