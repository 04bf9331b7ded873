from typer.testing import CliRunner

from cace_qeq.cli import app
from cace_qeq.structures import LabelKeys, labels_of, read_frames

run = CliRunner().invoke
FRAME = "begin\natom 0 0 0 Na 0.5 0 0 0 0.1\natom 0 0 4 Cl 0.5 0 0 0 -0.1\nenergy -1\ncharge 1\nend\n"


def test_a_file_of_runner_becomes_extended_xyz(tmp_path):
    source, target = tmp_path / "input.data", tmp_path / "frames.extxyz"
    source.write_text(2 * FRAME)
    result = run(app, ["convert", str(source), str(target)])
    assert result.exit_code == 0, result.output
    assert "2 frames" in result.output
    frames = read_frames(target)
    assert [labels_of(atoms, LabelKeys()).charges.sum().item() for atoms in frames] == [1.0, 1.0]
    assert [atoms.info["total_charge"] for atoms in frames] == [1.0, 1.0]


def test_another_format_to_write_is_refused(tmp_path):
    source = tmp_path / "input.data"
    source.write_text(FRAME)
    result = run(app, ["convert", str(source), str(tmp_path / "frames.cif")])
    assert result.exit_code != 0
    assert "extxyz" in str(result.exception)


def test_files_that_are_there_stay_what_they_are(tmp_path):
    frame = tmp_path / "frame.extxyz"
    frame.write_text("1\nenergy=-1.0 origin=here\nNa 0 0 0\n")
    before = frame.read_text()
    result = run(app, ["convert", str(frame), str(frame)])
    assert "exists already" in str(result.exception)
    assert frame.read_text() == before


def test_a_key_that_no_frame_has_is_refused(tmp_path):
    source, target = tmp_path / "input.data", tmp_path / "frames.extxyz"
    source.write_text(FRAME)
    result = run(app, ["convert", str(source), str(target), "--keys", "energy=nope"])
    assert "--keys: no frame has 'nope' as energy" in str(result.exception)
    assert not target.exists()


def test_what_is_left_out_is_said(tmp_path):
    source = tmp_path / "frames.extxyz"
    source.write_text(
        "1\nProperties=species:S:1:pos:R:3:F_dft:R:3 E_dft=-1.0 REF_energy=-2.0 config_type=a name=x\nNa 0 0 0 0 0 0\n"
    )
    result = run(app, ["convert", str(source), str(tmp_path / "first.extxyz")])
    assert "Left out: E_dft, F_dft, name. Labels among them need --keys." in result.output
    named = run(app, ["convert", str(source), str(tmp_path / "second.extxyz"), "--keys", "energy=E_dft,forces=F_dft"])
    assert "Left out: REF_energy, name." in named.output
