"""Containers that know what has been touched: a reload carries that, and not all of it.

    containers  the dict                              views     what it shows of itself
    lru         the cache that forgets                settled   what cannot change, or be reached by others
    journal     what is exported already, what not    build     the first export of all
    parts       what crosses                          arriving  how a stream fills containers
    family      how they are refilled in place        applying  which parts are in one already
    background  what an engine does for them          pace      slices, and rests between them

What crosses for one container::

    segments     part 0 │ part 1 │ ... │ part n      written in the background, in slices; never changed
    stream       the entries touched since           written in each export; small

Each part, and what the stream holds, says the same three things: which keys are gone, which have another
value where they are, and which come last, in this order. To apply all of them one after the other gives the
container.

Invariants:
    * An entry that is in the parts alone is settled, or nobody but the container can reach its value. All
      others are in the stream of every export, and share there what they shared before.
    * A key is noted before it is written, and again afterwards: an export between the two loses neither.
    * To export changes nothing; a reload that is rolled back leaves every note where it was.
"""
