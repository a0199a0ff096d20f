import { sqliteStore } from "coatcheck/sqlite"

export const store = sqliteStore(process.env.SHOP_DB ?? "shop.db")
