"""Late interaction over large collections: centroids, their lists, and a copy in bytes.

A collection with a vector a token keeps, beside each such field, two sparse fields: the lists of
its documents' centroids. One of the two is in service; the other one is filled while centroids are
trained again, so that searches never see half of it. The centroids are files in a folder that all
workers share. So is the copy of the vectors in bytes, which the server scores faster than the index
does. The index is the truth: all of this is made from it and may be deleted.

`fields` names the sparse fields, `generations` keeps the centroids, `copy` the bytes; `building`
makes them of what `reading` finds, in a process of its own (`upkeep` starts it); `open_files` is
what a process has of them at hand, and `serving` searches with that.
"""
