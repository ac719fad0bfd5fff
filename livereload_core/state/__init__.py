"""Preserved state: what ``preserve`` declares, how it crosses into the next generation.

Lives in the child only, inside the user's interpreter; the parent carries snapshots as bytes.

    declare     preserve() as the user sees it          hooks, runtime   the other public names
    engine      the life of state in one generation     roots            what was declared, and where
    exporting   live roots -> snapshot                  restoring        snapshot -> live roots
    writing     roots -> the entries of a snapshot      pouring          contents -> the object that is held
    snapshot    the bytes                               inplace          objects that can be refilled
    codec       one object <-> one stream               reducers, code   what plain pickle cannot do
    shapes      edited classes, read by name            fields, fitting  what a class declares; does it fit
    parking     values whose field is gone              sharing          what two roots share
    stdlib      reductions of the standard library      insides          what objects do not show
    matching    code and classes in the new source      localclasses     classes that no name leads to
    thirdparty  codecs by entry point                   codecs/          our own
    names       what names stand for now                walker           which part of a value is at fault

Invariants:
    * ``declare``, ``hooks`` and ``runtime`` import next to nothing: a program that runs without
      ``livecore`` pays a few milliseconds at most.
    * User code never crosses by value: classes and functions go by name, and come back as the new code.
    * Exporting changes nothing: the generation that exports may go on serving.
"""
