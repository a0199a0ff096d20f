import { unstorageStore } from "coatcheck/unstorage"
import { createStorage, type Driver, prefixStorage, type Storage } from "unstorage"
import fs from "unstorage/drivers/fs"

// Apart from the others, for unstorage's declarations need those of every engine that it has a driver for.
unstorageStore(createStorage())
unstorageStore(createStorage({ driver: fs({ base: "./sessions" }) }), { prefix: "shop:session:" })
unstorageStore(createStorage<string>())
unstorageStore(prefixStorage(createStorage(), "app"))

declare const anything: Storage
unstorageStore(anything)

declare const driver: Driver
// @ts-expect-error a driver is not a storage
unstorageStore(driver)
// @ts-expect-error no such option
unstorageStore(createStorage(), { base: "session" })
