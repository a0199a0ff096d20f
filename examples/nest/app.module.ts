import { Module } from "@nestjs/common"
import { APP_FILTER } from "@nestjs/core"
import { AccountController } from "./account.controller.ts"
import { SessionErrorFilter } from "./session-error.filter.ts"
import { ShopController } from "./shop.controller.ts"
import { UsersService } from "./users.service.ts"

@Module({
  controllers: [ShopController, AccountController],
  providers: [UsersService, { provide: APP_FILTER, useClass: SessionErrorFilter }],
})
export class AppModule {}
