/* Loading. */
#include "dib.h"
#include "model.h"

/* Called once, before any other function: fills all tables. Returns what the header was that the library was built with. */
int64_t dib_open(void)
{
    model_fill_tables();
    return DIB_HEADER;
}
