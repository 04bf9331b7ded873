"""What the benchmark of charges at scale says, in small."""

from scaling import iterations


def test_iterations_hardly_grow_with_the_cell():
    few, many = iterations(4), iterations(8)
    assert (few["atoms"], many["atoms"]) == (192, 1536)
    assert many["iterations"] <= few["iterations"] + 3
    assert many["by_the_diagonal"] > 1.5 * few["by_the_diagonal"]
    assert many["iterations"] < many["by_the_diagonal"] / 2
