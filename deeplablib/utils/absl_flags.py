"""A script's flags, as absl has them: read with one clear error, and written to be read again."""

from collections.abc import Sequence

from absl import flags

from deeplablib.utils.errors import InputError


def parse(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    """Read a command line, whose first word is the script's name, into flags.

    Raises InputError for a word that is no flag, a wrong value, and a flagfile that is not UTF-8.
    """
    try:
        unknown = values([str(argument) for argument in arguments])[1:]
    except flags.Error as error:
        raise InputError(f'{error} (see --help)') from None
    except UnicodeDecodeError:
        raise InputError('--flagfile: holds a path that is not UTF-8; give the flags') from None
    if unknown:
        raise InputError(f'{unknown[0]}: not a flag (see --help)')


def flags_of_script(values: flags.FlagValues, name: str) -> list[flags.Flag]:
    """The flags of one script, without those of absl itself; name: of any one of them."""
    script = values.find_module_defining_flag(name)
    return values.flags_by_module_dict()[str(script)]


def help_text(values: flags.FlagValues, name: str) -> str:
    """What --help says of the flags of a script; name: of any one of them."""
    return values.module_help(values.find_module_defining_flag(name))


def flagfile(script_flags: Sequence[flags.Flag]) -> str:
    """Flags in the form that --flagfile takes, a line each."""
    given = [flag for flag in script_flags if flag.value is not None]
    return ''.join(f'{flag.serialize()}\n' for flag in given)
