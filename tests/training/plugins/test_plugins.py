"""Plug-ins are found by entry point or by a line of the configuration; what cannot be used says why."""

from __future__ import annotations

import pytest

from training.config.settings import load_config
from training.config.toml_reader import ConfigError
from training.plugins import GROUPS, PluginError, PluginModule, find_plugin, load_plugins

FLAT = '[flat]\nleads = "leads.csv"\nlabel = "Converted"\n'


def by_name(group, modules=()):
    return {plugin.name: plugin for plugin in load_plugins(group, modules)}


def test_without_plugins_nothing_is_found():
    assert [load_plugins(group) for group in GROUPS] == [(), (), (), ()]


@pytest.mark.usefixtures("acme")
def test_an_installed_package_is_found_by_its_entry_points():
    assert set(by_name("leadloop.learners")) == {"acme-forest", "acme-logit"}
    (metric,) = load_plugins("leadloop.metrics")
    assert (metric.name, metric.package) == ("top_tenth", "acme-leads 1.2")
    assert metric.place == "acme_leads:top_tenth of acme-leads 1.2"


@pytest.mark.usefixtures("site")
def test_a_module_beside_the_configuration_is_found_by_its_dictionaries(tmp_path):
    (tmp_path / "mine.py").write_text("leadloop_metrics = {'zero': lambda y, p, weights: 0.0}\n")
    (tmp_path / "leadloop.toml").write_text('plugins = ["mine"]\n' + FLAT)
    config = load_config(tmp_path / "leadloop.toml")
    assert config.plugins == (PluginModule("mine", tmp_path),)
    assert by_name("leadloop.metrics", config.plugins)["zero"].place == "mine.leadloop_metrics"
    assert load_plugins("leadloop.features", config.plugins) == ()


def test_what_is_installed_and_named_as_well_stands_once(acme):
    module = acme.folder / "acme_leads.py"
    module.write_text(module.read_text() + "leadloop_metrics = {'top_tenth': top_tenth}\n")
    assert len(load_plugins("leadloop.metrics", [PluginModule("acme_leads")])) == 1


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('"my-module"', "no name of a module"),
        ('"plugins/mine.py"', "write 'plugins.mine'"),
        ("3", "the name of a module, not 3"),
    ],
)
def test_a_line_that_names_no_module_is_refused_with_its_place(tmp_path, written, says):
    (tmp_path / "leadloop.toml").write_text(f"plugins = [{written}]\n" + FLAT)
    with pytest.raises(ConfigError, match="line 1") as error:
        load_config(tmp_path / "leadloop.toml")
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            "import nowhere_at_all",
            "cannot be imported, ModuleNotFoundError: No module named 'nowhere_at_all'",
        ),
        ("raise RuntimeError('no licence')", "cannot be imported, RuntimeError: no licence"),
        ("METRICS = {}", "adds nothing; give it a dictionary"),
        ("leadloop_metrics = [1]", "should be a dictionary of names and objects, not list"),
        ("leadloop_metrics = {'a b': 1}", "plug-in 'a b' .*a name begins with a letter"),
    ],
)
@pytest.mark.usefixtures("site")
def test_a_module_that_cannot_be_used_is_refused_with_the_reason(tmp_path, source, says):
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(PluginError, match=says) as error:
        load_plugins("leadloop.metrics", [PluginModule("mine", tmp_path)])
    assert "mine" in str(error.value)


@pytest.mark.usefixtures("site")
def test_a_module_that_is_not_there_is_refused_with_the_nearest_name(tmp_path):
    (tmp_path / "my_plugins.py").write_text("leadloop_metrics = {}")
    with pytest.raises(PluginError, match="no module 'my_plugin'; did you mean 'my_plugins'"):
        load_plugins("leadloop.metrics", [PluginModule("my_plugin", tmp_path)])


def test_a_package_that_raises_when_it_is_imported_is_refused_by_name(site):
    site.install("broken_leads", "1 / 0", "[leadloop.metrics]\nworth = broken_leads:worth\n")
    says = (
        r"plug-in 'worth' \(leadloop.metrics, broken_leads:worth of broken-leads 1.2\): .*ZeroDivisionError"
    )
    with pytest.raises(PluginError, match=says):
        load_plugins("leadloop.metrics")
    assert load_plugins("leadloop.features") == ()


@pytest.mark.usefixtures("acme")
def test_two_plugins_of_one_name_are_refused(tmp_path):
    (tmp_path / "mine.py").write_text("leadloop_metrics = {'top_tenth': abs}")
    with pytest.raises(PluginError, match=r"taken by acme_leads:top_tenth of acme-leads 1.2; rename"):
        load_plugins("leadloop.metrics", [PluginModule("mine", tmp_path)])


@pytest.mark.usefixtures("acme")
def test_a_plugin_that_is_named_but_not_there_is_refused_with_the_nearest_name():
    with pytest.raises(PluginError, match=r"\[training\] learner: .*did you mean 'acme-logit'"):
        find_plugin("leadloop.learners", "acme-logti", "[training] learner")


def test_without_any_plugin_of_a_group_the_message_says_so():
    with pytest.raises(PluginError, match="no package or module here adds one"):
        find_plugin("leadloop.learners", "acme-logit", "[training] learner")


def test_monotone_and_a_learner_of_a_plugin_do_not_go_together(tmp_path):
    (tmp_path / "leadloop.toml").write_text(FLAT + '[training]\nlearner = "x"\nmonotone = ["visit"]\n')
    with pytest.raises(ConfigError, match="monotone works with the default learner only"):
        load_config(tmp_path / "leadloop.toml")
