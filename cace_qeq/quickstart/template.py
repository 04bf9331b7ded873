"""The fixed text of the report."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Total charge decides the geometry</title>
<style>
body { font: 16px/1.55 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.4rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
.lead { font-size: 1.15rem; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .92rem; }
th, td { text-align: right; padding: .3rem .8rem; border-bottom: 1px solid #e3e3e3; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; height: auto; }
figure { margin: 1rem 0; } figcaption { color: #555; font-size: .92rem; }
.arrow { font-size: 2rem; vertical-align: 4rem; color: #888; margin: 0 .6rem; }
code { background: #f3f3f3; padding: .1rem .3rem; }
</style>
</head>
<body>
<h1>Total charge decides the geometry</h1>
<p class="lead">Three silver atoms start bent, with $start. One and the same machine-learned model moves them, and
nothing but the total charge that it is given differs. $verdict</p>
$drawings
$shapes
<p>The first two distances run from the atom at the widest angle to the others, the third between those; charges stand
in the order end, middle, end. The reference is GFN1-xTB, the quantum-mechanical engine that labelled the training data,
relaxed from the same start. The chain is soft: in the reference, a straight one lies only $straight meV above
the bent one, less than a thermal kT (26 meV at 300 K).</p>
<p>A potential that sees positions alone gives both ions the same forces and must fail for at least one of them.
Here each atom's surroundings decide how strongly it attracts electrons; the charges then follow from
minimising the energy under the given total charge, and the energy follows from the charges.</p>

<h2>In motion</h2>
<p>Molecular dynamics at constant energy, 0.5 fs per step, in double precision. Both ions leave the same bent triangle
with the same velocities (drawn at 300 K); the energy that each gains on its way towards its minimum stays with it as
motion, so it swings about the shape above instead of resting in it.</p>
$dynamics
$motions
<p>The energy drift is the slope of the total energy: it shows that forces are exact derivatives of the energy.</p>

<h2>What was trained</h2>
<p>A Cartesian atomic cluster expansion with charge equilibration, on two sets that ship with the package: silver
trimers, each geometry labelled once with total charge +1 and once with −1, and sodium chloride clusters with total
charge +1, in which a far sodium atom that is there or not changes the charges. Labels: energies, forces and atomic
charges of GFN1-xTB. $training</p>

<h2>Errors on frames it has not seen</h2>
<p>Root mean square errors. Dipoles were not trained on: the model's are those of its atomic charges alone, while the
reference's also hold the polarisation inside of each atom.</p>
$errors
<p>Predicted against reference values; on the grey line they would agree.</p>
$parity

<h2>How it learned</h2>
$learning_curve
<p>Loss and errors over the epochs, as measured on validation frames along the way.</p>

<h2>What lies in this folder</h2>
<table><tbody>
<tr><td><code>model.safetensors</code></td><td>the model: parameters, settings, where it comes from</td></tr>
<tr><td><code>metrics.json</code></td><td>every number of this page, and more</td></tr>
<tr><td><code>md.extxyz</code>, <code>relaxed.extxyz</code></td><td>trajectories and minima of both ions, first of the
positive one, with charges, forces and energies</td></tr>
<tr><td><code>config.yaml</code>, <code>log.csv</code></td><td>the settings of the training and its record</td></tr>
</tbody></table>
<p>To go on: <code>cace-qeq train config.yaml</code> trains on your own structures,
<code>cace-qeq md model.safetensors structure.extxyz --charge 1</code> moves them;
<code>docs/tutorial.md</code> tells how.</p>
<p>Time: $times. Made with $versions.</p>
</body>
</html>
"""
