"""A script's flags, as absl has them: defined, read with one clear error, and listed."""

from collections.abc import Sequence

from absl import flags

from deeplablib.utils.errors import InputError


def forget(values: flags.FlagValues, name: str) -> None:
    """Take away the flags of a script that is run anew, as %run does in a notebook.

    name: of any one of them.
    """
    if name in values:
        for flag in flags_of_script(values, name):
            delattr(values, flag.name)


def parse(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    """Read a command line, whose first word is the script's name, into flags; others are defaults.

    Raises InputError for a word that is no flag, a wrong value, and a flagfile that is not UTF-8.
    """
    values.unparse_flags()
    try:
        unknown = values([str(argument) for argument in arguments])[1:]
    except flags.Error as error:
        raise InputError(f'{error} (see --help)') from None
    except UnicodeDecodeError:
        raise InputError('--flagfile: holds a path that is not UTF-8; give the flags') from None
    if unknown:
        raise InputError(f'{unknown[0]}: not a flag (see --help)')


def flags_of_script(values: flags.FlagValues, name: str) -> list[flags.Flag]:
    """The flags of one script so far, without those of absl itself; name: of any one of them."""
    script = values.find_module_defining_flag(name)
    return list(values.flags_by_module_dict()[str(script)])


def help_text(values: flags.FlagValues, name: str) -> str:
    """What --help says of the flags of a script; name: of any one of them."""
    return values.module_help(values.find_module_defining_flag(name))
