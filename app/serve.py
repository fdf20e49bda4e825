"""Show demo.ipynb as a page without code, on this computer only: python start.py app."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import webbrowser
from pathlib import Path
from urllib.parse import quote

try:
    from tornado.ioloop import PeriodicCallback
    from traitlets.config import Config
    from voila.app import Voila
except KeyboardInterrupt:  # they take seconds to load
    sys.exit(130)

HERE = Path(__file__).resolve().parent
# Leads the browser here; it holds the token, so not for long.
OPENING = HERE.parent / "build" / "open_the_demo.html"
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'"


class App(Voila):
    """Voilà with the page of index.html.j2, opened with its token."""

    to_open = True

    def setup_template_dirs(self) -> None:
        super().setup_template_dirs()
        self.template_paths.insert(0, str(HERE))

    def launch_browser(self) -> None:
        """Say where the page is, and open it; called when the server listens."""
        print(f"The demo is at {self.display_url}\nPress Ctrl-C to end it.", flush=True)
        PeriodicCallback(lambda: None, 1000).start()  # Windows sees Ctrl-C between events only
        if self.to_open:
            # By way of a file that only its owner can read: all users of this computer can see
            # with what arguments a browser was started.
            address = f"{self.connection_url}?token={quote(self.identity_provider.token)}"
            OPENING.parent.mkdir(parents=True, exist_ok=True)
            OPENING.unlink(missing_ok=True)
            OPENING.touch(mode=0o600)
            OPENING.write_text(f'<meta http-equiv="refresh" content="0;url={address}">', "utf-8")
            threading.Thread(target=webbrowser.open, args=[OPENING.as_uri()], daemon=True).start()

    def init_settings(self) -> dict:
        """Let those who come without the token see login.html."""
        settings = super().init_settings()
        settings["jinja2_env"].loader.searchpath.insert(0, str(HERE))
        return settings

    def init_handlers(self) -> list:
        """Put the login where Voilà leads to it, under a path as well."""
        path = self.server_url.rstrip("/")
        login = [(path + route, *rest) for route, *rest in self.identity_provider.get_handlers()]
        return login + super().init_handlers()

    def stop(self) -> None:
        """End the kernels at once: one that is still starting would end with a traceback."""
        for kernel_id in self.kernel_manager.list_kernel_ids():
            provisioner = self.kernel_manager.get_kernel(kernel_id).provisioner
            if process := getattr(provisioner, "process", None):
                process.kill()
        super().stop()


def greet(handler, **_) -> None:
    """Give a page the cookie without which it may not end its kernel when it is closed.

    Voilà does so for those who log in, but not for those who come with a token.
    """
    _ = handler.xsrf_token  # to read it is to set it
    OPENING.unlink(missing_ok=True)  # the browser is here


def settings(options: argparse.Namespace) -> Config:
    """Return what Voilà is told, the options from after the script's name included."""
    config = Config()
    config.Voila.config_file_paths = []  # what is set for other notebooks does not hold here
    config.Voila.log_level = "ERROR"
    config.Voila.ip, config.Voila.port = "localhost", options.port
    config.Voila.base_url = f"/{options.base_url.strip('/')}/".replace("//", "/")
    config.Voila.auto_token = True  # JUPYTER_TOKEN, or one made up for this run
    config.PasswordIdentityProvider.allow_password_change = False  # it would hold for all Jupyter
    config.Voila.tornado_settings = {
        # Without these two any page on the Web could have a browser here talk to this server
        # (DNS rebinding), and this page could send pictures elsewhere.
        "allow_remote_access": False,
        "local_hostnames": ["localhost", *options.name],
        "headers": {"Content-Security-Policy": POLICY},
        "websocket_max_message_size": 100 * 2**20,  # as start.py has it for JupyterLab
        "ws_ping_interval": 120_000,  # ms; Tornado complains of Jupyter's own figures
        "ws_ping_timeout": 120_000,
    }
    config.VoilaConfiguration.allow_template_override = "NO"
    config.VoilaConfiguration.extension_allowlist = [  # others may not fit Voilà's JupyterLab
        "@jupyter-widgets/jupyterlab-manager",
        "@voila-dashboards/widgets-manager8",
        "anywidget",
    ]
    config.VoilaConfiguration.prelaunch_hook = greet
    # A page that could not ask for its kernel's end (a crash, a cable) has it ended later.
    config.MappingKernelManager.cull_idle_timeout = 300  # seconds without a connection
    config.MappingKernelManager.cull_interval = 60
    return config


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--port", type=int, default=8866, help="if taken, the next free one")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument(
        "--name", action="append", default=[], help="of a proxy's host, to answer to it as well"
    )
    parser.add_argument("--base-url", default="/", help="under which path a proxy shows it: /demo/")
    options = parser.parse_args()
    if not 0 < options.port < 2**16:
        parser.error(f"--port takes 1 to 65535, not {options.port}")
    # The kernel is to be this Python's own, not one of the same name in the user's folder.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    app = App(config=settings(options))
    app.to_open = not options.no_browser
    try:
        app.initialize([str(HERE / "demo.ipynb")])
        app.start()
    except KeyboardInterrupt:  # a second one, while kernels are ended
        return 130
    finally:
        OPENING.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
