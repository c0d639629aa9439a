from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import dibundle

if __name__ == "__main__":  # each process imports this file anew
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        dibundle.create("old.tar", "new.tar", "spawned.dib", executor=executor)
