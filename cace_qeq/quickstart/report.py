"""The report: one HTML page without outside files, for readers who have never seen the project."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from string import Template

from cace_qeq.quickstart.drawing import drawn
from cace_qeq.quickstart.plan import REPEATS, START_ANGLE, START_BOND, TITLES
from cace_qeq.quickstart.results import Ion, Results, motion_metrics
from cace_qeq.quickstart.shapes import REFERENCE, REFERENCE_STRAIGHT
from cace_qeq.quickstart.template import PAGE
from cace_qeq.training import Metrics

ERRORS = {
    "energy_rmse_mev_per_atom": "energy (meV/atom)",
    "forces_rmse_mev_per_angstrom": "forces (meV/Å)",
    "charges_rmse_me": "charges (me)",
    "dipole_rmse_e_angstrom": "dipole (e Å)",
}


def report(results: Results, pictures: Mapping[str, bytes]) -> str:
    """The page.

    pictures  PNG files, "dynamics", "parity" and "learning curve"
    """
    images = {name.replace(" ", "_"): image(name, content) for name, content in pictures.items()}
    return Template(PAGE).substitute(
        verdict=" ".join(map(sentence, results.ions)),
        start=f"bonds of {START_BOND:g} Å and an angle of {START_ANGLE:g}°",
        drawings="".join(map(figures, results.ions)),
        shapes=shape_table(results.ions),
        straight=f"{1000 * (REFERENCE_STRAIGHT - REFERENCE[-1].energy):.0f}",
        motions=motion_table(results.ions),
        errors=error_table(results),
        training=training_sentence(results),
        times=", ".join(f"{name} {seconds:.0f} s" for name, seconds in results.seconds.items()),
        versions=escape(versions(results)),
        **images,
    )


def sentence(ion: Ion) -> str:
    """What became of an ion."""
    return (
        f"With total charge {signed(ion.total_charge, '+d')} e it relaxes to {article(ion.relaxed.name)} "
        f"with a widest angle of <b>{ion.relaxed.angle:.1f}°</b> (reference {ion.reference.angle:.1f}°)."
    )


def signed(number: float, style: str) -> str:
    """With a minus as wide as a plus."""
    return format(number, style).replace("-", "−")


def article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def figures(ion: Ion) -> str:
    """The start and the minimum of an ion side by side."""
    return (
        f'<figure>{drawn(ion.start)}<span class="arrow">→</span>{drawn(ion.relaxed)}<figcaption>'
        f"{markup(ion)}: {ion.start.angle:.0f}° → {ion.relaxed.angle:.1f}°, "
        f"{signed(ion.energy_change, '+.3f')} eV. Numbers in the atoms: charges in e.</figcaption></figure>"
    )


def markup(ion: Ion) -> str:
    return f"Ag<sub>3</sub><sup>{'+' if ion.total_charge > 0 else '−'}</sup>"


def shape_table(ions: Sequence[Ion]) -> str:
    rows = []
    for ion in ions:
        for source, shape, change in (
            ("model", ion.relaxed, ion.energy_change),
            ("reference", ion.reference, ion.reference_energy_change),
        ):
            distances = ", ".join(f"{distance:.3f}" for distance in shape.distances)
            charges = ", ".join(signed(charge, "+.3f") for charge in shape.charges)
            rows.append([markup(ion), source, f"{shape.angle:.1f}", distances, charges, signed(change, "+.4f")])
    head = ("ion", "", "widest angle (°)", "distances (Å)", "charges (e)", "energy from the start (eV)")
    return table(head, rows)


def motion_table(ions: Sequence[Ion]) -> str:
    rows = []
    for ion in ions:
        found = motion_metrics(ion.motion)
        spread = f"{found['smallest_angle_degrees']:.0f} to {found['largest_angle_degrees']:.0f}"
        mean, warmth = found["mean_angle_degrees"], found["temperature_k"]
        drift = signed(found["energy_drift_ev_per_atom_per_ps"], ".1e")
        rows.append([markup(ion), f"{mean:.0f}", spread, f"{warmth:.0f}", drift])
    head = ("ion", "mean angle (°)", "range (°)", "mean temperature (K)", "energy drift (eV/atom/ps)")
    return table(head, rows)


def error_table(results: Results) -> str:
    """Root mean square errors on the test frames."""
    rows = []
    for name, errors in results.sets.items():
        title = escape(TITLES.get(name, name))
        rows.append([f"<b>{title}</b>", *error_cells(errors.whole.metrics)])
        if len(errors.by_total_charge) > 1:
            rows += [
                [f"total charge {signed(charge, '+g')} e", *error_cells(each.metrics)]
                for charge, each in errors.by_total_charge.items()
            ]
    return table(("test frames", "frames", *ERRORS.values()), rows)


def error_cells(metrics: Metrics) -> list[str]:
    values = [metrics[name] for name in ERRORS]
    return [str(metrics["n_structures"]), *("–" if value is None else f"{value:.3g}" for value in values)]


def training_sentence(results: Results) -> str:
    training = results.training
    frames = training.frames
    again = "".join(f" ({TITLES[name].lower()} {times} times per epoch)" for name, times in REPEATS.items())
    return (
        f"{training.parameters} parameters, {training.epochs} epochs over {frames['train']} training frames{again} in "
        f"{results.seconds['training']:.0f} s; the best of them was chosen on {frames['valid']} validation frames, "
        f"and the errors below come from {frames['test']} further frames."
    )


def versions(results: Results) -> str:
    numbers = results.training.versions
    return ", ".join(f"{name} {numbers[name]}" for name in ("cace_qeq", "torch", "python") if name in numbers)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Cells are HTML already."""
    top = "".join(f"<th>{name}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def image(name: str, content: bytes) -> str:
    return f'<img alt="{escape(name)}" src="data:image/png;base64,{b64encode(content).decode()}">'
