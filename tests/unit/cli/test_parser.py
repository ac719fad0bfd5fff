"""From words, environment and files to settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from livereload_core.cli.parser import Command, Control, Run, Text, settings_from
from livereload_core.core.settings import LogFormat, Settings, Target, TargetKind
from livereload_core.errors import UsageError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").touch()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "other.py").touch()
    (tmp_path / ".git").mkdir()
    return tmp_path


Parse = Callable[..., Settings]


@pytest.fixture
def parse(project: Path) -> Parse:
    def run(*argv: str, env: dict[str, str] | None = None, tty: bool = False) -> Settings:
        command = settings_from(["run", *argv], env or {}, str(project), tty=tty)
        assert isinstance(command, Run)
        return command.settings

    return run


def understand(project: Path, *argv: str, env: dict[str, str] | None = None) -> Command:
    return settings_from(argv, env or {}, str(project), version="9.9")


def config(project: Path, text: str) -> None:
    (project / "pyproject.toml").write_text("[tool.livecore]\n" + text)


def refused(project: Path, *argv: str, env: dict[str, str] | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        understand(project, *argv, env=env)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_defaults_are_those_of_the_settings(project: Path, parse: Parse) -> None:
    here = str(project)
    expected = Settings(
        target=Target(TargetKind.ATTRIBUTE, "app", "app"),
        cwd=here,
        root=here,
        app_dir=here,
        log_format=LogFormat.PLAIN,
    )
    assert parse("app:app") == expected


def test_every_flag_reaches_its_setting(project: Path, parse: Parse) -> None:
    (project / ".env").write_text("KEY=value\n")
    settings = parse(
        *("app.py", "--host", "::1", "--port", "0", "--factory", "--env-file", ".env", "--app-dir", "lib"),
        *(
            "--reload-dir",
            "lib",
            "--reload-dir",
            ".",
            "--reload-include",
            "*.yaml",
            "--reload-exclude",
            "a,b",
        ),
        *("--no-reload", "--log-format", "json", "--timeout-prepare", "1", "--timeout-start", "2"),
        *("--timeout-hook", "3", "--timeout-quiesce", "4", "--timeout-graceful-shutdown", "6"),
        *("--probation", "7", "--checkpoint", "8", "--no-keys", "--no-spare"),
    )
    here = str(project)
    assert settings == Settings(
        target=Target(TargetKind.SCRIPT, "app.py"),
        cwd=here,
        root=here,
        app_dir=f"{here}/lib",
        host="::1",
        port=0,
        port_given=True,
        factory=True,
        env=(("KEY", "value"),),
        env_file=f"{here}/.env",
        reload=False,
        reload_dirs=(f"{here}/lib", here),
        reload_include=("*.yaml",),
        reload_exclude=("a,b",),
        log_format=LogFormat.JSON,
        timeout_prepare=1.0,
        timeout_start=2.0,
        timeout_hook=3.0,
        timeout_quiesce=4.0,
        timeout_graceful=6.0,
        probation=7.0,
        checkpoint=8.0,
        keys=False,
        spare=False,
    )
    assert Settings.from_json(settings.to_json()) == settings


def test_flags_win_over_variables_and_those_over_the_file(project: Path, parse: Parse) -> None:
    config(project, 'port = 1\nhost = "a"\nno-reload = true\nreload-include = ["f"]\n')
    env = {"LIVECORE_PORT": "2", "LIVECORE_HOST": "b", "LIVECORE_RELOAD_INCLUDE": "x, y\nz"}
    settings = parse("app:app", "--port", "3", env=env)
    assert (settings.port, settings.host, settings.reload) == (3, "b", False)
    assert settings.reload_include == ("x", "y", "z")
    assert parse("app:app", "--reload", env=env).reload
    assert parse("app:app", env={"LIVECORE_PORT": ""}).port == 1


def test_paths_of_the_file_start_at_the_file(project: Path) -> None:
    config(project, 'app-dir = "lib"\nreload-dir = ["lib"]\n')
    below = project / "deep" / "er"
    below.mkdir(parents=True)
    command = settings_from(["run", "other"], {}, str(below))
    assert isinstance(command, Run)
    assert command.settings.app_dir == str(project / "lib")
    assert command.settings.reload_dirs == (str(project / "lib"),)
    assert command.settings.root == str(project)


def test_the_nearest_file_counts(project: Path, parse: Parse) -> None:
    config(project, "port = 1\n")
    (project / "lib" / "pyproject.toml").write_text("[tool.livecore]\nport = 2\n")
    assert parse("app:app").port == 1
    assert parse("other", "--app-dir", "lib").port == 2
    assert parse("lib/other.py").port == 2


def test_a_script_has_its_own_folder_as_app_dir(project: Path, parse: Parse) -> None:
    settings = parse("lib/other.py")
    assert settings.app_dir == str(project / "lib")
    assert settings.root == str(project)
    assert settings.target.name == "lib/other.py"


def test_arguments_for_the_program_are_never_looked_at(parse: Parse) -> None:
    args = ("--port", "x", "--", "-h", "run", "")
    assert parse("app.py", "--", *args).target.args == args
    assert parse("-m", "app", "--port", "1", "--", *args).target == Target(
        TargetKind.PACKAGE, "app", args=args
    )


def test_format_is_pretty_on_a_terminal_only(parse: Parse) -> None:
    assert parse("app", tty=True).log_format is LogFormat.PRETTY
    assert parse("app", tty=False).log_format is LogFormat.PLAIN
    assert parse("app", "--log-format", "plain", tty=True).log_format is LogFormat.PLAIN


def test_an_address_given_anywhere_counts_as_given(project: Path, parse: Parse) -> None:
    assert not parse("app").port_given
    assert parse("app", env={"LIVECORE_PORT": "8000"}).port_given
    config(project, 'uds = "x.sock"\n')
    assert parse("app").port_given


def test_a_unix_socket_and_a_port_exclude_each_other_unless_one_is_said_louder(
    project: Path, parse: Parse
) -> None:
    assert "--uds and --port exclude each other" in refused(
        project, "run", "app", "--uds", "x.sock", "--port", "1"
    )
    config(project, 'uds = "x.sock"\n')
    louder = parse("app", "--port", "1")
    assert (louder.uds, louder.port) == ("", 1)
    config(project, "port = 1\n")
    louder = parse("app", "--uds", "x.sock")
    assert (louder.uds, louder.port) == (str(project / "x.sock"), 8000)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "there is no command; write `livecore run TARGET`"),
        (["rnu", "app"], "did you mean `livecore run`?"),
        (["app:app"], "did you mean `livecore run app:app`?"),
        (["zzzzz"], "the commands are run, status, reload, stop"),
        (["--port", "1", "run"], "'--port' comes before the command"),
        (["run"], "there is no target"),
        (["run", "app", "--prot", "1"], "unknown option '--prot'; did you mean --port?"),
        (["run", "app", "--zzzzzz"], "options for the program go behind --"),
        (["run", "app", "--port"], "--port: expected one argument"),
        (["run", "app", "x", "-y"], "livecore run app -- x -y"),
        (["run", "-m", "app", "x"], "livecore run -m app -- x"),
        (["run", "app", "--port", "-1"], "--port is '-1'"),
        (["run", "app", "--reload-dir", ""], "--reload-dir is ''"),
        (["run", "app", "--reload-dir", "libs"], "did you mean"),
        (["run", "app", "--reload-dir", "app.py"], "is a file"),
        (["run", "app", "--app-dir", "nope"], "--app-dir: "),
        (["run", "app", "--env-file", ".env"], "does not exist"),
        (["run", "app", "--env-file", "lib"], "cannot be read"),
        (["run", "app", "--uds", "nope/x.sock"], "the folder"),
        (["run", "app", "--uds", "x" * 120], "too long for a Unix socket"),
        (
            ["run", "app", "--preload", "numpy,pandas"],
            "'numpy,pandas' is no name of a module; name one",
        ),
        (
            ["run", "app", "--preload-exclude", "scikit-learn"],
            "is no name of a module; write it as",
        ),
        (["run", "app", "--preload", "off", "--preload", "numpy"], "'off' and names of modules exclude each"),
        (["status", "x"], "unexpected argument 'x'; livecore status takes options only"),
        (["status", "--jsn"], "did you mean --json?"),
        (["stop", "--pid", "x"], "--pid is 'x'"),
        (["stop", "--", "x"], "runs no program"),
        (["undo"], "unknown command 'undo'"),
    ],
)
def test_a_mistake_gets_one_sentence(project: Path, argv: list[str], expected: str) -> None:
    assert expected in refused(project, *argv)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prot = 1", "unknown key 'prot' in [tool.livecore] of {file}; did you mean 'port'?"),
        ("reload_dir = []", "did you mean 'reload-dir'?"),
        ("zzzzzz = 1", "remove it"),
        ("port = '1'", "key 'port' in [tool.livecore] of {file} is '1'"),
        ("port = 70000", "from 0 to 65535"),
        ("reload-dir = ['nope']", "key 'reload-dir' in [tool.livecore] of {file}: "),
        ("port = ", "{file} is not valid TOML"),
    ],
)
def test_a_mistake_in_the_file_names_key_and_file(project: Path, text: str, expected: str) -> None:
    config(project, text)
    assert expected.format(file=project / "pyproject.toml") in refused(project, "run", "app")


def test_a_file_without_our_table_says_nothing(project: Path, parse: Parse) -> None:
    (project / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert parse("app").port == 8000
    (project / "pyproject.toml").write_text("tool = 1\n")
    assert parse("app").port == 8000
    (project / "pyproject.toml").write_text("[tool]\nlivecore = 1\n")
    assert "make it a table" in refused(project, "run", "app")


def test_a_bad_variable_is_named(project: Path) -> None:
    assert refused(project, "run", "app", env={"LIVECORE_PORT": "x"}).startswith("LIVECORE_PORT is 'x'; ")


def test_a_misspelt_variable_is_warned_about_and_a_foreign_one_is_not(project: Path) -> None:
    env = {"LIVECORE_PROT": "1", "LIVECORE_DEPLOYMENT": "3", "LIVECORE_TEST_SCALE": "1", "PATH": "/bin"}
    command = understand(project, "run", "app", env=env)
    assert isinstance(command, Run)
    assert command.warnings == ("variable LIVECORE_PROT is unknown and ignored; did you mean LIVECORE_PORT?",)


def test_environment_file_can_bring_the_python_path(project: Path, parse: Parse) -> None:
    (project / ".env").write_text(f"PYTHONPATH={project / 'lib'}\n")
    assert parse("other", "--env-file", ".env").target.name == "other"


def test_commands_for_a_run_are_plain_data(project: Path) -> None:
    assert understand(project, "status", "--json", "--pid", "12") == Control("status", 12, json=True)
    assert understand(project, "reload") == Control("reload")
    assert understand(project, "stop") == Control("stop")


def test_help_and_version_are_texts(project: Path) -> None:
    assert understand(project, "--version") == Text("livecore 9.9\n")
    overview = understand(project, "--help")
    assert isinstance(overview, Text)
    assert "livecore run" in overview.text
    page = understand(project, "run", "--help")
    assert isinstance(page, Text)
    assert "--timeout-graceful-shutdown" in page.text
    assert "--no-factory" not in page.text
    assert understand(project, "run", "app.py", "--", "--help") != page


def test_a_run_is_fresh_unless_some_place_says_that_it_goes_on(project: Path, parse: Parse) -> None:
    assert not parse("app").resume
    assert parse("app", "--resume").resume
    assert parse("app", env={"LIVECORE_RESUME": "1"}).resume
    config(project, "resume = true\nno-save = true\nkeep-generations = 0\n")
    settings = parse("app")
    assert (settings.resume, settings.save, settings.keep_generations) == (True, False, 0)
    settings = parse("app", "--fresh", "--save", "--keep-generations", "12")
    assert (settings.resume, settings.save, settings.keep_generations) == (False, True, 12)
    assert not parse("app", env={"LIVECORE_RESUME": "0"}).resume


@pytest.mark.parametrize("text", ["-1", "x", "1.5", "", "٣", "99999", "1e3"])
def test_a_number_of_generations_is_a_whole_number(project: Path, text: str) -> None:
    assert "--keep-generations" in refused(project, "run", "app", "--keep-generations", text)


@pytest.mark.parametrize("value", ["-1", "true", '"5"', "1.5", "[5]"])
def test_a_number_of_generations_in_the_file_is_one_too(project: Path, value: str) -> None:
    config(project, f"keep-generations = {value}\n")
    assert "it takes a whole number such as 5, 0 for none" in refused(project, "run", "app")
