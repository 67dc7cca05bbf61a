"""The operator's face: parse, call one service function, present the result.

Every process of usersvc starts here.
"""

import gc

# By default Python looks for garbage after every 700 new objects: while a process starts, that is hundreds of
# times among what stays for ever, and a tenth of the time.
gc.set_threshold(20_000, 10, 10)
