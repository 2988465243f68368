"""The switch that a daemon follows: an Asterisk over AMI, or the simulated one of a sandbox."""

from __future__ import annotations

from charging.asterisk.control import CallControl
from charging.asterisk.link import AmiLink
from charging.asterisk.reply import LinkSettings, LinkState
from charging.asterisk.switch import AsteriskSwitch
from charging.clock import Clock
from charging.metrics import Metrics
from charging.sandbox.switch import PlayedSwitch
from charging.settings import Config

_LINK_STATES = {
    LinkState.CONNECTING: "connecting",
    LinkState.WRONG_SECRET: "refused",
    LinkState.FORBIDDEN: "refused",
    LinkState.SYNCING: "reconciling",
    LinkState.UP: "up",
    LinkState.SHUTTING_DOWN: "shutting_down",
}


def link_settings(config: Config) -> LinkSettings:
    """Make the link's settings from those of the file."""
    ami = config.settings.switch.ami
    return LinkSettings(
        host=ami.host,
        port=ami.port,
        username=ami.user,
        secret=config.ami_secret.get_secret_value(),
        ping_interval_s=ami.ping_interval_s,
        pong_deadline_s=ami.action_timeout_s,
    )


def _link(config: Config, clock: Clock, metrics: Metrics) -> AmiLink:
    was_up = False

    def changed(state: LinkState, _detail: str) -> None:
        nonlocal was_up
        metrics.set_ami_state(_LINK_STATES.get(state, "down"))
        if state is LinkState.UP and was_up:
            metrics.ami_reconnects.inc()
        was_up = was_up or state is LinkState.UP

    return AmiLink(link_settings(config), clock, on_state=changed, on_suspect=metrics.ami_suspects.inc)


def switch_of(
    config: Config, clock: Clock, metrics: Metrics
) -> tuple[AmiLink | PlayedSwitch, CallControl | None, AsteriskSwitch | PlayedSwitch]:
    """Return the switch, and the link to it."""
    settings = config.settings.switch
    if config.settings.sandbox:
        played = PlayedSwitch(clock, settings.id)
        metrics.set_ami_state(_LINK_STATES[LinkState.UP])
        return played, None, played
    link = _link(config, clock, metrics)
    control = CallControl(link, clock)
    return link, control, AsteriskSwitch(link, control, clock, settings.prompts_dir_on_switch, settings.id)
