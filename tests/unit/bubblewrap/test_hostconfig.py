"""What of the host's settings reaches a bake, and in which words."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import pytest
from isol8tasks_bubblewrap.exposure import Exposure, local_path, mask
from isol8tasks_bubblewrap.hostconfig import HostConfig, gather
from isol8tasks_bubblewrap.pipconfig import PipConfig, read_pip_config

AT = "/bake/settings"


@attrs.define
class Host:
    """A home, an /etc and an environment without any settings; tests add theirs."""

    folder: Path
    environ: dict[str, str]
    uid: int | None = None

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def etc(self) -> Path:
        return self.folder / "etc"

    def write(self, path: str, text: str) -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def pip(self) -> PipConfig:
        return read_pip_config(self.environ, system=self.etc)

    def gather(self) -> HostConfig:
        exposure = Exposure(self.folder / "settings", AT, self.uid)
        prefix = str(self.folder / "node")
        return gather(exposure, node_prefix=prefix, environ=self.environ, system=self.etc)

    def uv(self) -> dict[str, str]:
        """uv's variables but for those that every bake has."""
        always = {"XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"}
        return {name: text for name, text in self.gather().uv_env if name not in always}

    def inside(self, path: str) -> str:
        """The content of a file that a bake sees at this path."""
        assert path.startswith(AT)
        return (self.folder / "settings" / path[len(AT) + 1 :]).read_text()


@pytest.fixture
def host(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr("sys.prefix", str(open_folder / "venv"))
    (open_folder / "home").mkdir()
    return Host(open_folder, {"HOME": str(open_folder / "home")})


URL = "https://index.example.org/simple"
BEST = {"UV_INDEX_STRATEGY": "unsafe-best-match"}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (f"index-url = {URL}", {"UV_DEFAULT_INDEX": URL, **BEST}),
        (f"index_url = {URL}", {"UV_DEFAULT_INDEX": URL, **BEST}),
        (f"extra-index-url =\n    {URL}/a\n    {URL}/b", {"UV_INDEX": f"{URL}/a {URL}/b", **BEST}),
        (f"find-links = {URL}/a {URL}/b", {"UV_FIND_LINKS": f"{URL}/a,{URL}/b", **BEST}),
        ("trusted-host = one:8080\n  two", {"UV_INSECURE_HOST": "one:8080 two"}),
        ("timeout = 90", {"UV_HTTP_TIMEOUT": "90"}),
        ("default-timeout = 91", {"UV_HTTP_TIMEOUT": "91"}),
        ("timeout = soon", {}),
        ("no-index = true", {}),
        ("cache-dir = /tmp/x\nuser = yes\nno-color = 1", {}),
        (
            "proxy = someone:geheim@proxy:3128",
            dict.fromkeys(
                ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"),
                "http://someone:geheim@proxy:3128",
            ),
        ),
        ("index-url", {}),
    ],
)
def test_pips_settings_in_uvs_words(host: Host, setting: str, expected: dict[str, str]) -> None:
    host.write("etc/pip.conf", f"[global]\n{setting}\n")
    assert host.uv() == expected


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("PIP_INDEX_URL", URL, {"UV_DEFAULT_INDEX": URL, **BEST}),
        ("PIP_EXTRA_INDEX_URL", URL, {"UV_INDEX": URL, **BEST}),
        ("PIP_FIND_LINKS", URL, {"UV_FIND_LINKS": URL, **BEST}),
        ("PIP_TRUSTED_HOST", "one two", {"UV_INSECURE_HOST": "one two"}),
        ("PIP_DEFAULT_TIMEOUT", "180", {"UV_HTTP_TIMEOUT": "180"}),
        ("PIP_INDEX_URL", "", {}),
        ("UV_DEFAULT_INDEX", URL, {"UV_DEFAULT_INDEX": URL}),
        ("UV_INDEX_MINE_PASSWORD", "x", {"UV_INDEX_MINE_PASSWORD": "x"}),
        ("UV_HTTP_TIMEOUT", "5", {"UV_HTTP_TIMEOUT": "5"}),
        ("UV_CACHE_DIR", "/x", {}),
        ("UV_PYTHON", "3.9", {}),
        ("UV_LINK_MODE", "hardlink", {}),
        ("HTTPS_PROXY", "http://p:1", {"HTTPS_PROXY": "http://p:1"}),
        ("no_proxy", "localhost", {"no_proxy": "localhost"}),
        ("AWS_SECRET_ACCESS_KEY", "x", {}),
    ],
)
def test_variables(host: Host, variable: str, value: str, expected: dict[str, str]) -> None:
    host.environ[variable] = value
    assert host.uv() == expected


def test_no_index_is_an_option(host: Host) -> None:
    host.environ["PIP_NO_INDEX"] = "1"
    assert host.gather().uv_options == ("--no-index",)
    host.environ["PIP_NO_INDEX"] = "off"
    assert host.gather().uv_options == ()


def test_the_order_of_pips_files(host: Host) -> None:
    places = ["etc/xdg/pip", "etc", "home/.pip", "home/.config/pip", "venv"]
    for number, folder in enumerate(places):
        host.write(f"{folder}/pip.conf", f"[global]\nindex-url = {number}\n")
        assert host.pip().index_url == str(number)
    host.write("etc/xdg/pip/pip.conf", "[install]\nindex-url = install\n")
    assert host.pip().index_url == "install"
    own = host.write("own.conf", "[install]\nindex-url = own\n")
    host.environ["PIP_CONFIG_FILE"] = str(own)
    assert host.pip().index_url == "own"
    host.environ["PIP_INDEX_URL"] = "variable"
    assert host.pip().index_url == "variable"


def test_a_configuration_file_of_ones_own_replaces_the_users(host: Host) -> None:
    host.write("home/.config/pip/pip.conf", "[global]\ntimeout = 1\n")
    host.write("etc/pip.conf", "[global]\ncert = /x\n")
    host.environ["PIP_CONFIG_FILE"] = str(host.write("own.conf", "[global]\nproxy = p\n"))
    assert host.pip() == PipConfig(cert="/x", proxy="p")
    host.environ["PIP_CONFIG_FILE"] = os.devnull
    assert host.pip() == PipConfig()


def test_xdg_places(host: Host) -> None:
    host.environ["XDG_CONFIG_HOME"] = str(host.folder / "conf")
    host.environ["XDG_CONFIG_DIRS"] = f"{host.folder}/dirs:{host.folder}/more"
    host.write("more/pip/pip.conf", "[global]\nproxy = shared\n")
    host.write("conf/pip/pip.conf", "[global]\ntimeout = 7\n")
    assert host.pip() == PipConfig(proxy="shared", timeout="7")


@pytest.mark.parametrize("text", ["[global", "x = y", "[global]\nx\n  y = %(z)s", "\x00\x01"])
def test_a_broken_pip_conf_is_as_good_as_none(host: Host, text: str) -> None:
    host.write("etc/pip.conf", text)
    assert host.pip() == PipConfig()


def test_uvs_own_indexes_win_over_pips(host: Host) -> None:
    host.environ.update(PIP_INDEX_URL="https://pip.example.org", UV_INDEX=URL)
    assert host.uv() == {"UV_INDEX": URL}


def test_uvs_files_are_brought_along_and_win_over_pips(host: Host) -> None:
    host.environ["PIP_INDEX_URL"] = "https://pip.example.org"
    host.write("etc/uv/uv.toml", "offline = false\n")
    host.write("home/.config/uv/uv.toml", f'[[index]]\nurl = "{URL}"\ndefault = true\n')
    env = dict(host.gather().uv_env)
    assert "UV_DEFAULT_INDEX" not in env
    assert URL in host.inside(f"{env['XDG_CONFIG_HOME']}/uv/uv.toml")
    assert host.inside(f"{env['XDG_CONFIG_DIRS']}/uv/uv.toml") == "offline = false\n"


def test_one_uv_file_by_name(host: Host) -> None:
    host.environ["UV_CONFIG_FILE"] = str(host.write("mine.toml", "offline = true\n"))
    assert host.inside(dict(host.gather().uv_env)["UV_CONFIG_FILE"]) == "offline = true\n"


def test_folders_of_uvs_own_settings_are_shown(host: Host) -> None:
    wheels, index = host.folder / "wheels", host.folder / "index"
    wheels.mkdir()
    index.mkdir()
    host.write("home/.config/uv/uv.toml", f'[pip]\nfind-links = ["{wheels}"]\n')
    host.environ["UV_INDEX"] = f"mine=file://{index}"
    assert dict(host.gather().mounts) == {str(wheels): str(wheels), str(index): str(index)}


def test_a_local_index_and_what_it_links_to(host: Host) -> None:
    package = host.write("pypi/files/a-1.whl", "")
    elsewhere = host.write("else where/b-1.tar.gz", "")
    host.write(
        "pypi/simple/a/index.html",
        f'<a href="../../files/a-1.whl#sha256=0">a</a><a href="{elsewhere.as_uri()}">b</a>'
        '<a href="../../../secret">c</a><a href="https://x.example/d.whl">d</a>'
        "<a href=../../../missing/e.whl>e</a>",
    )
    host.write("secret", "")
    index = host.folder / "pypi/simple"
    host.environ["PIP_INDEX_URL"] = index.as_uri()
    config = host.gather()
    assert {path for _, path in config.mounts} == {
        str(index),
        str(package.parent),
        str(elsewhere.parent),
    }
    assert all(source == path for source, path in config.mounts)
    assert config.notices == ()


def test_a_path_is_an_index_too(host: Host) -> None:
    index = host.folder / "simple"
    index.mkdir()
    host.environ["PIP_INDEX_URL"] = str(index)
    assert host.uv()["UV_DEFAULT_INDEX"] == index.as_uri()


def test_what_is_not_there_is_left_out_with_a_notice(host: Host) -> None:
    host.write("etc/pip.conf", "[global]\nfind-links = /nowhere/wheels\n")
    host.environ["PIP_EXTRA_INDEX_URL"] = "file:///nowhere/simple"
    config = host.gather()
    assert config.mounts == ()
    assert not {"UV_FIND_LINKS", "UV_INDEX"} & dict(config.uv_env).keys()
    assert config.notices == (
        "the folder /nowhere/simple is not there or cannot be read: left out",
        "the folder /nowhere/wheels is not there or cannot be read: left out",
    )


def test_a_folder_out_of_reach_is_copied_and_keeps_its_path(host: Host) -> None:
    host.uid = 64999
    hidden = host.write("hidden/wheels/a.whl", "wheel").parent
    hidden.parent.chmod(0o700)
    host.environ["PIP_FIND_LINKS"] = str(hidden)
    ((source, path),) = host.gather().mounts
    assert path == str(hidden)
    assert source.startswith(str(host.folder / "settings"))
    assert Path(source, "a.whl").read_text() == "wheel"


@pytest.mark.parametrize("folder", ["/", "/proc", "/dev/shm", "/run", "/sys"])
def test_folders_that_are_never_shown(host: Host, folder: str) -> None:
    host.environ["PIP_FIND_LINKS"] = folder
    config = host.gather()
    assert config.mounts == ()
    assert "left out" in config.notices[0]


@pytest.mark.parametrize(
    "setting", ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
)
def test_certificates_for_uv_and_node(host: Host, setting: str) -> None:
    host.environ[setting] = str(host.write("ca.pem", "authority"))
    config = host.gather()
    for env in (dict(config.uv_env), dict(config.npm_env)):
        assert host.inside(env["SSL_CERT_FILE"]) == "authority"
        assert host.inside(env["NODE_EXTRA_CA_CERTS"]) == "authority"


def test_certificates_of_node_alone_and_of_a_client(host: Host) -> None:
    host.environ["NODE_EXTRA_CA_CERTS"] = str(host.write("node.pem", "node"))
    host.write("etc/pip.conf", f"[global]\nclient-cert = {host.write('client.pem', 'me')}\n")
    env = dict(host.gather().npm_env)
    assert host.inside(env["NODE_EXTRA_CA_CERTS"]) == "node"
    assert host.inside(env["SSL_CLIENT_CERT"]) == "me"


def test_a_folder_of_certificates(host: Host) -> None:
    folder = host.write("certs/a.pem", "").parent
    host.environ["SSL_CERT_DIR"] = f"/etc/ssl/certs:{folder}:/nowhere"
    config = host.gather()
    assert dict(config.uv_env)["SSL_CERT_DIR"] == f"/etc/ssl/certs:{folder}"
    assert config.mounts == ((str(folder), str(folder)),)


def test_npmrc_of_the_user_and_of_the_host(host: Host) -> None:
    authority = host.write("ca.pem", "authority")
    host.write("home/.npmrc", f"cafile={authority}\n//r/:_authToken=${{NPM_TOKEN}}\n")
    host.write("etc/npmrc", "fund=false\n")
    host.write("node/etc/npmrc", "registry=https://r/\n")
    host.environ.update(NPM_TOKEN="t", OTHER_TOKEN="u")
    env = dict(host.gather().npm_env)
    user, shared = host.inside(env["npm_config_userconfig"]), env["npm_config_globalconfig"]
    cafile = user.splitlines()[0].removeprefix("cafile=")
    assert host.inside(cafile) == "authority"
    assert host.inside(shared).split() == ["fund=false", "registry=https://r/"]
    assert env["NPM_TOKEN"] == "t"
    assert "OTHER_TOKEN" not in env


def test_npm_variables(host: Host) -> None:
    host.write("mine.npmrc", "fund=false")
    host.write("ca.pem", "authority")
    host.environ.update(
        NPM_CONFIG_REGISTRY="https://r/",
        npm_config_strict_ssl="false",
        NPM_CONFIG_CACHE="/x",
        npm_config_prefix="/y",
        NPM_CONFIG_USERCONFIG=str(host.folder / "mine.npmrc"),
        NPM_CONFIG_CAFILE=str(host.folder / "ca.pem"),
    )
    env = dict(host.gather().npm_env)
    assert env["NPM_CONFIG_REGISTRY"] == "https://r/"
    assert env["npm_config_strict_ssl"] == "false"
    assert host.inside(env["npm_config_userconfig"]) == "fund=false"
    assert host.inside(env["npm_config_cafile"]) == "authority"
    assert not {"NPM_CONFIG_CACHE", "npm_config_prefix", "NPM_CONFIG_CAFILE"} & env.keys()


def test_logins_of_the_indexes_and_of_nothing_else(host: Host) -> None:
    host.write(
        "home/.netrc",
        "machine index.example.org login me password geheim\n"
        "machine git.example.org login me password other\n",
    )
    assert "NETRC" not in host.uv()
    host.environ["PIP_INDEX_URL"] = URL
    netrc = host.inside(host.uv()["NETRC"])
    assert netrc == "machine index.example.org login me password geheim\n"


def test_secrets_are_in_no_repr(host: Host) -> None:
    host.environ["PIP_INDEX_URL"] = "https://me:geheim@index.example.org/simple"
    assert "geheim" not in repr(host.gather())


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("GET https://me:geheim@host/x failed", "GET https://***@host/x failed"),
        ("https://token@host, http://a:b@c", "https://***@host, http://***@c"),
        ("https://host/path@2 and me@host", "https://host/path@2 and me@host"),
    ],
)
def test_masking(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("file:///opt/a%20b/", "/opt/a b"),
        ("file://localhost/opt", "/opt"),
        ("/opt/x", "/opt/x"),
        ("https://host/x", None),
    ],
)
def test_local_paths(location: str, path: str | None) -> None:
    assert local_path(location) == (Path(path) if path else None)
