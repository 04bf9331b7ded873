"""`cace-qeq spectrum`."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from cace_qeq.files import refuse_unwritable, write_atomically
from cace_qeq.plots import plot_spectrum
from cace_qeq.simulation import Spectrum, dipole_series, infrared_spectrum, log_of
from cace_qeq.structures import read_frames

HEADER = "wavenumber_per_cm,intensity_km_per_mol_per_wavenumber"

Trajectory = Annotated[
    Path, typer.Argument(metavar="TRAJECTORY", help="Of a molecule or a cell, as `cace-qeq md` writes it.")
]
OutOption = Annotated[Path, typer.Option(help="The spectrum, CSV; its figure lies beside it as .png.")]
SkipOption = Annotated[int, typer.Option(help="Frames to leave out at the beginning.", min=0)]
ResolutionOption = Annotated[float, typer.Option(help="1/cm; segments of the trajectory are averaged. 0: none.", min=0)]
LargestOption = Annotated[float, typer.Option("--largest", help="1/cm, end of the figure and of the CSV.", min=1)]


def spectrum(
    trajectory: Trajectory,
    out: OutOption = Path("spectrum.csv"),
    skip: SkipOption = 0,
    resolution: ResolutionOption = 0.0,
    largest: LargestOption = 4500.0,
) -> None:
    """Infrared spectrum from the dipoles of molecular dynamics; cells have them where charge flows along bonds."""
    if out.suffix == ".png":
        raise ValueError(f"--out is {out}, the name of the figure; give that of the table, such as spectrum.csv.")
    if out.resolve() in (trajectory.resolve(), log_of(trajectory).resolve()):
        raise ValueError(f"--out is {out}, which is the trajectory or its log; give another name.")
    figure = out.with_suffix(".png")
    for path in (out, figure):
        if path.exists():
            raise FileExistsError(f"{path} exists already; choose another name with --out.")
    refuse_unwritable(out)
    series = dipole_series(read_frames(trajectory)[skip:])
    found = infrared_spectrum(series, resolution)
    shown = found.wavenumbers <= largest
    found = Spectrum(found.wavenumbers[shown], found.intensities[shown])
    write_atomically(out, table(found).encode())
    plot_spectrum(found.wavenumbers, found.intensities, figure)
    console = Console(markup=False)
    span = len(series.dipoles) * series.interval / 1000
    console.print(f"{len(series.dipoles)} frames over {span:.3g} ps at {series.temperature:.0f} K.", highlight=False)
    apart = float(found.wavenumbers[1]) if len(found.wavenumbers) > 1 else 0.0
    if 0 < resolution < apart:
        console.print(f"They resolve {apart:.0f} 1/cm, not {resolution:g}: a longer trajectory would.", highlight=False)
    console.print(f"Spectrum: {out}, {figure}.", highlight=False, soft_wrap=True)


def table(found: Spectrum) -> str:
    rows = np.stack([found.wavenumbers, found.intensities], axis=1).tolist()
    return "\n".join([HEADER, *(f"{wavenumber:.4f},{intensity:.6g}" for wavenumber, intensity in rows)]) + "\n"
