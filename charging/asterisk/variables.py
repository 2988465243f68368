"""Every name that the dialplan and the daemon share, once.

The same names stand in ``config/asterisk/extensions_charging.conf``.
"""

from __future__ import annotations

SESSION = "CHARGING_SESSION"
"""The session's id, made by the daemon: ASCII ``[a-z0-9-]``, at most 40 characters."""
DECISION = "CHARGING_DECISION"
"""``forward``, ``voicemail`` or ``reject``; empty means that the daemon did not answer."""
REASON = "CHARGING_REASON"
QUOTA = "CHARGING_QUOTA"
"""Whole seconds, ``[1-9][0-9]*``; only with ``forward``."""
TARGET = "CHARGING_TARGET"
"""Where to forward to: E.164 with its leading ``+``."""
RING_S = "CHARGING_RING_S"
WAIT_S = "CHARGING_WAIT_S"
"""So many seconds the caller hears it ring before anyone is dialled."""
LANGUAGE = "CHARGING_LANGUAGE"
MAILBOX = "CHARGING_MAILBOX"
LEG = "CHARGING_LEG"
"""``caller`` or ``callee``."""
PROMPT = "CHARGING_PROMPT"
"""The sound file to play to the subscriber, a path on the switch without its extension."""
PROMPT_PLAYED = "CHARGING_PLAYED"
"""What became of it by the second way: Asterisk's ``PLAYBACKSTATUS``."""
SPYEE = "CHARGING_SPYEE"
"""The unique id of the leg that hears the prompt."""

PROOF = "CHARGING_PROOF"
"""A secret that the daemon has Asterisk note on the channel by FastAGI, and then asks for over AMI."""
SWITCH = "CHARGING_SWITCH"
"""The ``switch.id`` of the daemon that decided; what the black box notes of the call is that daemon's to book."""

NUMBER = "CHARGING_NUMBER"
"""The subscriber's number."""
FAX_FILE = "CHARGING_FAX_FILE"
FAX_HEADER = "CHARGING_FAX_HEADER"
FAX_BEFORE = "CHARGING_FAX_BEFORE"
"""Whole seconds since the epoch: a fax is not dialled later."""
FAX_RING_S = "CHARGING_FAX_RING_S"
FAX_S = "CHARGING_FAX_S"
"""After so many seconds the switch ends a fax that is being sent."""
FAX_CONTEXT = "charging-fax"
FAX_GROUP = "charging-fax"
"""The category of groups in which each leg that sends is, or will: in one that is named by its session."""
FAX_CHANNEL = f"Local/send@{FAX_CONTEXT}/n"
FAX_IDLE_EXTENSION = "idle"

PHASE_FALLBACK = "fallback"
PHASES_UNDECIDED = ("decide", PHASE_FALLBACK)
"""While a daemon is asked, and after none of them gave a decision."""
"""The dialplan's word for a call that it handled without a decision of the daemon."""
PHASE_TURNED = "turned"
"""The dialplan's word for a call that it turned away by itself; its record says ``why``."""
PHASE_UNDIALLED = "undialled"
"""The dialplan's word for a fax that it has not dialled: the order came too late, or named no number."""

ANSWERED = "CHARGING_ANSWERED"
"""When the forwarded leg answered: seconds since the epoch with three decimals, by the switch's clock."""
ANSWERED_UP = "CHARGING_ANSWERED_UP"
"""How long the switch's machine had been up then, in seconds with two decimals; empty where it cannot tell."""
NOW = "STRFTIME(,UTC,%s.%3q)"
"""The same of now: a function that the dialplan and ``Status`` evaluate."""

LEG_CALLER = "caller"
LEG_CALLEE = "callee"

BLACK_BOX_FAMILY = "charging"
"""The AstDB family that the hang-up handler writes to."""
NO_SESSION_PREFIX = "nosession-"
"""The black-box key of a call that never got a session: this and the caller's unique id."""

ROUTE_INCOMING = "incoming"
ROUTE_UNANSWERED = "unanswered"

WHISPER_CHANNEL = "Local/spy@charging-whisper/n"
"""``/n`` forbids the optimisation that would make the channel, and its deadline, vanish."""
NO_CDR = "CDR_PROP(disable)=1"
"""An assignment, for the half of a Local channel that an order makes: it is nobody's call."""
PROMPT_CONTEXT = "charging-prompt"
PROMPT_UID = "w-"
"""With it the unique id of each channel that plays a prompt begins."""
MAINTENANCE_CONTEXT = "charging-maintenance"
MAINTENANCE_CHANNEL = f"Local/s@{MAINTENANCE_CONTEXT}/n"
MAINTENANCE_IDLE_EXTENSION = "idle"
"""Where the half of the maintenance channel would go that has nothing to do."""
FORGET = "CHARGING_FORGET"
"""Keys of black-box records to delete, with ``FORGET_SEPARATOR`` between them."""
FORGET_SEPARATOR = ":"
CHECK_CHANNEL = "Local/s@charging-check/n"
"""An end that sees which modules are there, answers, waits and does nothing else."""
AT_WORK = "CHARGING_AT_WORK"
"""On that end: names of modules with ``:`` between them, each with a 1 behind it if its function answered."""
UP_SEEN = "CHARGING_UP_SEEN"
"""On that end: how many characters the machine's up-time has, 0 if it cannot be read; ``no``: the operator wants none;
empty under an older dialplan."""
TRY_STATUS = "TRYSTATUS"
"""What Asterisk's TryExec says of the application that it was given: NOAPP if there is none."""
REHEARSAL_CONTEXT = "charging-rehearsal"
"""Stands in the place of the trunk for a call that rehearses."""
REHEARSAL_CALLER = "caller"
REHEARSAL_UID = "rehearsal-"
"""How the unique id of the rehearsal's caller begins: ours alone to give, for an Originate names it."""
HEARD = "CHARGING_HEARD"
"""Whether the far end of a rehearsal heard something: ``NOISE``, ``unmeasured``; empty until it does."""
VOICEMAIL_CONTEXT = "charging-voicemail"
"""Where callers leave messages."""
FAX_IN_CONTEXT = "charging-fax-receive"
"""Where faxes are received."""
FAX_IN = "CHARGING_FAX_IN"
"""The folder into which."""
TURNED = "CHARGING_TURNED_"
"""With a word of `TURNED_AWAY`: the dialplan's count, since Asterisk's start, of whom it turned away by itself."""
TURNED_AWAY = (
    "number",
    "caller",
    "all",
    "mailbox",
    "mailbox_caller",
    "mailbox_full",
    "fax",
    "fax_number",
    "fax_caller",
    "vain",
    "vain_number",
    "vain_caller",
)
DIAL_PREFIXES = ("CHARGING_DIAL_PREFIX", "CHARGING_DIAL_PREFIX_2")
DIAL_SUFFIXES = ("CHARGING_DIAL_SUFFIX", "CHARGING_DIAL_SUFFIX_2")
"""Of the first trunk, and of the second."""
PROMPT_FEATURE = "chgkeep"
PROMPT_FEATURE_DIGITS = "*99"
"""What method B dials on the subscriber's leg; the same as in ``features_charging.conf``."""


def inherited(name: str) -> str:
    """The name under which a variable is set so that every channel made later in the call has it too."""
    return f"__{name}"
